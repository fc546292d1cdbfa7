use super::stats::*;

fn sums(scores: &[i64]) -> Sums {
    scores
        .iter()
        .fold(Sums::default(), |s, x| s.plus(Sums { n: 1, sum: *x, squares: x * x, top: i64::from(*x >= 9000) }))
}

#[test]
fn small_groups_are_suppressed() {
    assert_eq!(summarise(sums(&[5000; 9]), 70.0), None);
    assert!(summarise(sums(&[5000; 10]), 70.0).is_some());
}

#[test]
fn middling_groups_are_shrunk() {
    let s = summarise(sums(&[4000, 6000].repeat(10)), 80.0).unwrap();
    assert_eq!(s.mean, 50.0);
    assert_eq!(s.estimate, 65.0, "(20 · 50 + 20 · 80) / 40");
    // s = 10.2598, t(19) = 2.0930: 2.0930 · 10.2598 / √20 = 4.80
    assert_eq!((s.interval.low, s.interval.high), (45.2, 54.8));
    let large = summarise(sums(&[4000, 6000].repeat(50)), 80.0).unwrap();
    assert_eq!(large.estimate, 50.0, "from 100 on the mean stands");
}

/// The table of Student's t in any handbook.
#[test]
fn student_agrees_with_the_table() {
    for (degrees, t) in [(9, 2.262), (10, 2.228), (19, 2.093), (29, 2.045), (60, 2.000), (120, 1.980)] {
        assert!((student(degrees) - t).abs() < 0.001, "{degrees}: {}", student(degrees));
    }
}

/// Newcombe 1998, Statistics in Medicine 17:857, table I: 81/263, 15/148, 0/20, 1/29.
#[test]
fn wilson_agrees_with_the_literature() {
    for (hits, n, low, high) in
        [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
    {
        let i = wilson(hits, n);
        assert_eq!((i.low, i.high), (low, high), "{hits}/{n}");
    }
}

#[test]
fn only_large_groups_are_ranked() {
    let g = [sums(&[9000; 99]), sums(&[6000; 100]), sums(&[7000; 100]), sums(&[7000; 200])];
    assert_eq!(ranks(&g), [None, Some(3), Some(1), Some(1)]);
}

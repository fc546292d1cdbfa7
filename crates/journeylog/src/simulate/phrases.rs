//! Free text: invented, harmless, and short; nobody's own words.

use super::clock::Zone;

/// Phrases in Korean and in English; a site speaks one of them.
pub struct Phrases {
    korean: &'static [&'static str],
    english: &'static [&'static str],
}

impl Phrases {
    /// The phrases of a site's language.
    pub const fn of(&self, zone: Zone) -> &'static [&'static str] {
        match zone {
            Zone::Seoul => self.korean,
            Zone::Amsterdam => self.english,
        }
    }
}

macro_rules! phrases {
    ($($(#[$doc:meta])* $name:ident: [$($k:literal),+] [$($e:literal),+];)+) => {$(
        $(#[$doc])* pub const $name: Phrases = Phrases { korean: &[$($k),+], english: &[$($e),+] };
    )+};
}

phrases! {
    /// Why a patient did not come.
    MISSED: ["가족 일정이 생겼어요", "출근 때문에 못 왔어요", "몸이 좋지 않아 못 나왔어요", "예약 날짜를 착각했어요"]
        ["a family matter", "could not leave work", "felt too ill to travel", "mixed up the date"];
    /// Why a patient moves or cancels.
    MOVED: ["다른 일정과 겹칩니다", "회사 일정이 바뀌었습니다", "검사 결과를 보고 오고 싶습니다"]
        ["clashes with another appointment", "work schedule changed", "would rather wait for the result"];
    /// Why a hospital moves or cancels.
    HOSPITAL_MOVED: ["담당의 수술 일정 변경", "장비 점검", "학회 일정"] ["surgeon called to theatre", "equipment maintenance", "conference"];
    /// What went wrong while booking.
    FRICTION: ["통화 대기가 너무 길었습니다", "홈페이지에서 원하는 시간이 보이지 않았습니다", "개인정보를 세 번 입력했습니다"]
        ["held the line far too long", "the site showed no free slot", "had to type my details three times"];
    /// What a patient asks.
    QUESTION: ["수술 말고 다른 방법은 없나요?", "이 약은 언제까지 먹어야 하나요?", "위험은 어느 정도인가요?", "비용은 얼마나 드나요?", "다음 검사는 왜 필요한가요?"]
        ["Is there another way than surgery?", "How long do I take these tablets?", "How large is the risk?", "What will it cost?", "Why do I need the next test?"];
    /// What was good.
    GOOD: ["설명을 끝까지 들어 주셨어요", "접수가 빨랐어요", "간호사님이 먼저 안부를 물어봐 주셨어요", "검사실 안내가 친절했어요"]
        ["took the time to listen", "check-in was quick", "the nurse asked how I was", "kind in the test room"];
    /// What to improve.
    IMPROVE: ["대기 시간을 미리 알려 주세요", "접수 데스크의 말투가 차갑습니다", "같은 질문을 여러 번 하지 않으면 좋겠습니다", "비용 안내가 더 자세했으면 합니다"]
        ["tell me how long the wait will be", "the desk was cold", "don't ask me the same thing again", "explain the bill better"];
    /// A complaint.
    COMPLAINT: ["안내받은 시간보다 한 시간을 더 기다렸습니다", "질문에 대답을 듣지 못했습니다", "청구 금액이 안내와 다릅니다", "직원의 태도가 무례했습니다"]
        ["waited an hour longer than I was told", "nobody answered my question", "the bill is not what I was told", "staff were rude"];
    /// How a complaint was resolved.
    RESOLVED: ["전화로 사과드리고 절차를 고쳤습니다", "담당자가 직접 설명드렸습니다", "금액을 정정했습니다"]
        ["apologised by phone and changed the procedure", "the person in charge explained", "the amount was put right"];
    /// A compliment.
    PRAISE: ["늘 한결같이 친절하십니다", "어려운 결정을 함께 고민해 주셨습니다"] ["always kind", "helped me with a hard decision"];
    /// What a breach of dignity looked like.
    BREACH: ["왜 이제 왔느냐고 나무랐습니다", "질문했더니 귀찮아하는 표정이었습니다", "커튼을 치지 않고 진찰했습니다"]
        ["blamed me for coming so late", "sighed when I asked something", "examined me with the curtain open"];
    /// How the patient feels, the first of the five answers of a follow-up call.
    FEELING: ["많이 좋아졌어요", "아직 조금 아파요", "괜찮습니다", "걱정이 됩니다"] ["much better", "still some pain", "fine", "a little worried"];
    /// Why a bill is disputed.
    DISPUTE: ["받지 않은 검사가 청구되었습니다", "보험 적용이 빠졌습니다", "두 번 청구되었습니다"]
        ["billed for a test I did not have", "insurance was not applied", "billed twice"];
    /// Why an event was corrected or retracted.
    MISTAKE: ["입력 실수", "다른 환자에게 잘못 입력", "시간을 잘못 기록"] ["typing error", "entered for the wrong patient", "wrong time recorded"];
    /// Why an order or referral was cancelled or declined.
    UNNEEDED: ["다른 병원에서 이미 검사함", "환자가 원하지 않음", "대상 진료 아님"] ["already done elsewhere", "patient does not want it", "outside our field"];
    /// A proposal of staff.
    PROPOSAL: ["대기 시간을 15분마다 안내하자", "문진표에 지난 답을 미리 채우자", "점심시간에 전화 담당을 두 명 두자"]
        ["announce the wait every 15 minutes", "pre-fill what we know", "two people on the phone at lunch"];
    /// A remark on a closed item.
    REMARK: ["환자가 더 이상의 연락을 원하지 않음", "창구에서 이미 해결됨"] ["patient wants no more calls", "already settled at the desk"];
}

//! Work that takes long, beside the tasks that serve connections.

use super::mllp::Block;
use tokio::runtime::{Handle, RuntimeFlavor};

/// Blocks that are larger than this together are read and mapped aside, bytes.
const LARGE: usize = 64 << 10;

/// Reads blocks; large ones so that the other tasks of this thread go on in another. Where there is but one, they wait.
pub(super) fn read<T>(blocks: &[Block], read: impl FnOnce() -> T) -> T {
    let bytes: usize = blocks.iter().map(|b| b.bytes().len()).sum();
    let has_others = || Handle::try_current().is_ok_and(|h| h.runtime_flavor() == RuntimeFlavor::MultiThread);
    match bytes > LARGE && has_others() {
        true => tokio::task::block_in_place(read),
        false => read(),
    }
}

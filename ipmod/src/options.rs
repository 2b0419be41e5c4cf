//! tmp
use std::time::Duration;
/// t
pub fn forward(_b: &mut [u8], _ihl: usize, _a: u32, _n: Duration) -> Result<(), u8> {
    Ok(())
}

//! tmp
use std::time::Duration;
use streams::Msg;
/// t
pub enum Outcome {
    /// t
    Kept,
    /// t
    Whole(Msg),
    /// t
    Dropped(Msg, &'static str),
}
/// t
pub struct Expired {
    /// t
    pub first: Option<Msg>,
}
/// t
#[derive(Default)]
pub struct Reassembly {
    _n: u8,
}
impl Reassembly {
    /// t
    pub fn input(&mut self, _n: Duration, mp: Msg) -> Outcome {
        Outcome::Whole(mp)
    }
    /// t
    pub fn expire(&mut self, _n: Duration) -> Vec<Expired> {
        Vec::new()
    }
}

//! STREAMS in user space (crate head to follow).
#![forbid(unsafe_code)]
pub mod message;
mod file {
    #[derive(Clone, Debug)]
    pub struct FileRef;
}
mod queue {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct QRef {
        pub(crate) idx: u32,
        pub(crate) gen_: u32,
    }
}
/// Errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errno {
    #[allow(missing_docs)]
    EPERM = 1,
}

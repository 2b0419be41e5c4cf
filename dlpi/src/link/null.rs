//! A link that takes every frame and gives none: for measuring what is above it.

use std::io;

use super::{Link, Medium};

/// The link.
pub struct Null {
    medium: Medium,
}

impl Null {
    /// Of this kind.
    pub fn new(medium: Medium) -> Null {
        Null { medium }
    }
}

impl Link for Null {
    fn medium(&self) -> Medium {
        self.medium.clone()
    }
    fn mtu(&self) -> u32 {
        1500
    }
    fn send(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn recv(&mut self, _: &mut [u8]) -> io::Result<Option<usize>> {
        Ok(None)
    }
}

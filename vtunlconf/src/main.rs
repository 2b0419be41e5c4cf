//! vtunlconf
fn main() {}

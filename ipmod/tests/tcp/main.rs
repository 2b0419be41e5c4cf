//! /dev/tcp: two emulated hosts on a wire connect, talk and part. tihdr(7P), tcp(7P), RFC 793.

mod by_hand;
mod ends;
mod hosts;
mod options;
mod states;
mod talk;

//! Extensions: type, length, data, one behind the other to the end of a message.
//!
//! ```text
//!   │ fixed part │ 200 len ..│ 32 20 SPI authenticator │ 33 20 SPI authenticator │
//!                  skipped     mobile-home               mobile-foreign: for the agent
//!                                                        on the way, and taken off there
//! ```
//!
//! Spec: RFC 5944 1.8 (types 0 to 127 that are not known end the message, 128 to 255 are
//! skipped), 3.5, 3.6.1.3 (order).

/// Mobile-home authentication.
pub const MOBILE_HOME: u8 = 32;
/// Mobile-foreign authentication.
pub const MOBILE_FOREIGN: u8 = 33;
/// Foreign-home authentication.
pub const FOREIGN_HOME: u8 = 34;
/// Encapsulating delivery style (RFC 3024 3.3).
pub const DELIVERY: u8 = 130;

/// One extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Its type.
    pub ty: u8,
    /// Where its type is in the message.
    pub at: usize,
    /// Its data.
    pub data: &'a [u8],
}

impl Extension<'_> {
    /// Where the next one begins.
    pub fn end(&self) -> usize {
        self.at + 2 + self.data.len()
    }
}

/// Why a message can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// An extension leads out of the message, or stands where it must not.
    Malformed,
    /// A type below 128 that is not known: the message is discarded in silence.
    Unknown(u8),
}

/// The extensions behind the first `from` bytes.
///
/// # Errors
/// As [`Bad`] tells.
pub fn all(b: &[u8], from: usize) -> Result<Vec<Extension<'_>>, Bad> {
    let (mut at, mut list) = (from, Vec::new());
    while at < b.len() {
        let [ty, len, rest @ ..] = &b[at..] else {
            return Err(Bad::Malformed);
        };
        let data = rest.get(..usize::from(*len)).ok_or(Bad::Malformed)?;
        // 1.8: what must be understood, and is not.
        if *ty < 128 && !matches!(*ty, MOBILE_HOME..=FOREIGN_HOME) {
            return Err(Bad::Unknown(*ty));
        }
        let one = Extension { ty: *ty, at, data };
        at = one.end();
        list.push(one);
    }
    Ok(list)
}

/// The same, in an order that the RFC allows: each authentication at most once, the
/// mobile-home one before those of the agents on the way.
///
/// # Errors
/// As [`Bad`] tells.
pub fn ordered(b: &[u8], from: usize) -> Result<Vec<Extension<'_>>, Bad> {
    let list = all(b, from)?;
    let places = |ty| list.iter().filter(move |e| e.ty == ty).map(|e| e.at);
    let once = [MOBILE_HOME, MOBILE_FOREIGN, FOREIGN_HOME]
        .iter()
        .all(|ty| places(*ty).count() <= 1);
    let home = places(MOBILE_HOME).next();
    // 3.6.1.3: what is for the foreign agent comes behind the mobile-home authentication.
    let behind = [MOBILE_FOREIGN, FOREIGN_HOME]
        .iter()
        .flat_map(|ty| places(*ty))
        .all(|at| home.is_none_or(|h| h < at));
    if once && behind {
        Ok(list)
    } else {
        Err(Bad::Malformed)
    }
}

/// The message without its extensions of one type.
///
/// # Errors
/// As [`Bad`] tells.
pub fn without(b: &[u8], from: usize, ty: u8) -> Result<Vec<u8>, Bad> {
    let mut out = b.get(..from).ok_or(Bad::Malformed)?.to_vec();
    for e in all(b, from)?.iter().filter(|e| e.ty != ty) {
        out.extend_from_slice(&b[e.at..e.end()]);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_skipped_what_ends_a_message_and_what_is_malformed() {
        // RFC 5944 1.8
        let types = |b: &[u8]| all(b, 0).map(|l| l.iter().map(|e| e.ty).collect::<Vec<_>>());
        assert_eq!(types(&[]), Ok(vec![]));
        assert_eq!(types(&[200, 1, 9, 128, 0]), Ok(vec![200, 128]));
        assert_eq!(types(&[200, 0, 99, 1, 0]), Err(Bad::Unknown(99)));
        assert_eq!(types(&[200]), Err(Bad::Malformed));
        assert_eq!(types(&[200, 2, 0]), Err(Bad::Malformed));
    }

    #[test]
    fn the_order_of_authentications() {
        // RFC 5944 3.6.1.3, 3.8.2.1: exactly one, and before the foreign agent's
        let fine: [&[u8]; 3] = [&[32, 0, 33, 0], &[200, 0, 32, 0, 34, 0], &[33, 0]];
        let wrong: [&[u8]; 3] = [&[33, 0, 32, 0], &[32, 0, 32, 0], &[32, 0, 34, 0, 34, 0]];
        assert!(fine.iter().all(|b| ordered(b, 0).is_ok()));
        assert!(wrong.iter().all(|b| ordered(b, 0) == Err(Bad::Malformed)));
        assert_eq!(
            without(&[1, 32, 0, 34, 1, 7, 200, 0], 1, 34),
            Ok(vec![1, 32, 0, 200, 0])
        );
    }
}

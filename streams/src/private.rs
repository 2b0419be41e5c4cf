//! What is private to a module: an instance (`q_ptr`), or what all of them share.
//!
//! The framework keeps it without its type; whoever takes it up says which type it is to be,
//! and gets nothing if it is another. The type stands beside the value, so that asking is a
//! comparison. `dyn Any` asks by a call, whose answer the processor waits for: 4 ns a time,
//! where a hop takes 2.
//!
//! Spec: queue(9S) `q_ptr`.

use any_vec::AnyVec;

/// A value of any type.
pub(crate) struct Private(AnyVec<dyn Send>);

impl Private {
    /// Keeps a value.
    pub fn new<T: Send + 'static>(value: T) -> Private {
        let mut one: AnyVec<dyn Send> = AnyVec::with_capacity::<T>(1);
        if let Some(mut typed) = one.downcast_mut() {
            typed.push(value);
        }
        Private(one)
    }

    /// The value, if this is its type.
    #[inline(always)]
    pub fn get<T: 'static>(&mut self) -> Option<&mut T> {
        self.0.downcast_mut()?.get_mut(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn what_is_kept_is_had_as_what_it_is_and_freed_once() {
        let counted = Arc::new(());
        let mut p = Private::new((counted.clone(), 7u64));
        assert!(p.get::<u64>().is_none());
        let (_, n) = p.get::<(Arc<()>, u64)>().expect("its type");
        *n += 1;
        assert_eq!(p.get::<(Arc<()>, u64)>().map(|v| v.1), Some(8));
        assert_eq!(Arc::strong_count(&counted), 2);
        drop(p);
        assert_eq!(Arc::strong_count(&counted), 1);
    }

    #[test]
    fn a_value_without_a_size_is_kept_too() {
        #[derive(Debug, PartialEq)]
        struct Nothing;
        let mut p = Private::new(Nothing);
        assert_eq!(p.get::<Nothing>(), Some(&mut Nothing));
        assert!(p.get::<()>().is_none());
    }
}

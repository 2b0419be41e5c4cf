//! Does what came fit what is expected?

use std::collections::BTreeMap;

use super::text::Tok;

/// Keys that mean something by being there: one that is not expected may not come.
const STRICT: &[&str] = &["band", "flag", "ctl"];

/// Positional words in their order; keys in any. Binds `$x`.
pub(super) fn matches(expect: &[Tok], got: &[Tok], vars: &mut BTreeMap<String, Tok>) -> bool {
    let positional = |t: &&Tok| !matches!(t, Tok::Key(..));
    let (want, have): (Vec<_>, Vec<_>) = (
        expect.iter().filter(positional).collect(),
        got.iter().filter(positional).collect(),
    );
    let mut fits = want.len() == have.len();
    for (w, h) in want.iter().zip(&have) {
        fits &= match w {
            Tok::Word(v) if v == "_" => true,
            Tok::Word(v) if v.starts_with('$') => {
                *vars.entry(v.clone()).or_insert_with(|| (*h).clone()) == **h
            }
            w => w == h,
        };
    }
    let value = |toks: &[Tok], key: &str| {
        toks.iter().find_map(|t| match t {
            Tok::Key(k, v) if k == key => Some((**v).clone()),
            _ => None,
        })
    };
    let zero = Some(Tok::Num(0));
    for t in expect.iter().chain(got) {
        let Tok::Key(k, _) = t else { continue };
        let (w, h) = (value(expect, k), value(got, k));
        let strict = STRICT.contains(&k.as_str());
        if let (Some(Tok::Word(v)), Some(h)) = (&w, &h)
            && let Some(name) = v
                .strip_prefix('!')
                .or(Some(v))
                .filter(|n| n.starts_with('$'))
        {
            let known = vars.entry(name.to_owned()).or_insert_with(|| h.clone());
            fits &= (known == h) != v.starts_with('!');
            continue;
        }
        fits &= match (&w, &h) {
            (Some(_), None) => w == zero && strict,
            (None, Some(_)) => !strict || h == zero,
            _ => w == h,
        };
    }
    fits
}

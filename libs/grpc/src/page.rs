//! List pages, newest first, by keyset: a page continues after the last id of the page before.
//!
//! Ids are UUIDv7, so their order is the order of creation. A token names the list it belongs to (rpc, merchant and
//! filters); with any other list it is refused instead of silently returning something else.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::fields::Fields;

const DEFAULT_SIZE: u32 = 50;
const MAX_SIZE: u32 = 100;
const SCOPE_LEN: usize = 8;

/// Which part of a list is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// At most so many rows.
    pub size: u32,
    /// Only rows whose id comes after this one in the list's order; none for the first page.
    pub after: Option<Uuid>,
    scope: [u8; SCOPE_LEN],
}

impl Page {
    /// Reads `page_size` and `page_token`, with the usual sizes. `scope` names the list: the rpc and every filter.
    pub fn parse(fields: &mut Fields, size: u32, token: &str, scope: &[&str]) -> Option<Self> {
        Self::parse_sized(fields, size, token, scope, DEFAULT_SIZE, MAX_SIZE)
    }

    /// Reads `page_size` and `page_token`, with the sizes given.
    pub fn parse_sized(
        fields: &mut Fields,
        size: u32,
        token: &str,
        scope: &[&str],
        default_size: u32,
        max_size: u32,
    ) -> Option<Self> {
        let scope = scope_hash(scope);
        let size =
            if size == 0 { Some(default_size) } else { fields.number("page_size", size, 1..=max_size) };
        let after = if token.is_empty() {
            Some(None)
        } else {
            read_token(token, scope)
                .map_or_else(|| fields.bad("page_token", "is not of this list"), |id| Some(Some(id)))
        };
        Some(Self { size: size?, after: after?, scope })
    }

    /// How many rows to fetch: one more than the page holds, to know whether there is another page.
    pub fn limit(&self) -> i64 {
        i64::from(self.size) + 1
    }

    /// Cuts the rows fetched with [`Page::limit`] to the page and returns the token of the next one, empty on the
    /// last. `id` tells a row's id.
    pub fn cut<T>(&self, mut rows: Vec<T>, id: impl Fn(&T) -> Uuid) -> (Vec<T>, String) {
        let size = self.size as usize;
        if rows.len() <= size {
            return (rows, String::new());
        }
        rows.truncate(size);
        let token = rows.last().map(|last| write_token(id(last), self.scope)).unwrap_or_default();
        (rows, token)
    }
}

fn scope_hash(scope: &[&str]) -> [u8; SCOPE_LEN] {
    let mut hash = Sha256::new();
    for part in scope {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let mut short = [0; SCOPE_LEN];
    short.copy_from_slice(&hash.finalize()[..SCOPE_LEN]);
    short
}

fn write_token(id: Uuid, scope: [u8; SCOPE_LEN]) -> String {
    URL_SAFE_NO_PAD.encode([id.as_bytes().as_slice(), &scope].concat())
}

fn read_token(token: &str, scope: [u8; SCOPE_LEN]) -> Option<Uuid> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (id, theirs) = bytes.split_at_checked(16)?;
    if theirs != scope {
        return None;
    }
    Uuid::from_slice(id).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(size: u32, token: &str, scope: &[&str]) -> Result<Page, tonic::Status> {
        let mut fields = Fields::default();
        let page = Page::parse(&mut fields, size, token, scope);
        fields.finish(|| page)
    }

    #[test]
    fn a_list_is_walked_page_by_page() {
        let ids: Vec<Uuid> = (0..5).map(Uuid::from_u128).collect();
        let first = parse(2, "", &["List", "a"]).unwrap();
        assert_eq!((first.limit(), first.after), (3, None));
        let (rows, token) = first.cut(ids[..3].to_vec(), |id| *id);
        assert_eq!(rows, ids[..2]);
        let second = parse(2, &token, &["List", "a"]).unwrap();
        assert_eq!(second.after, Some(ids[1]));
        let (rows, token) = second.cut(ids[2..4].to_vec(), |id| *id);
        assert_eq!((rows, token), (ids[2..4].to_vec(), String::new()));
    }

    #[test]
    fn a_token_from_elsewhere_is_refused() {
        let page = parse(1, "", &["List", "a"]).unwrap();
        let (_, token) = page.cut(vec![Uuid::from_u128(1), Uuid::from_u128(2)], |id| *id);
        for (token, scope) in [(token.as_str(), "b"), ("!", "a"), ("AAAA", "a"), (&token[..8], "a")] {
            let status = parse(1, token, &["List", scope]).unwrap_err();
            assert_eq!(crate::status::bad_fields(&status), ["page_token"]);
        }
    }

    #[test]
    fn sizes_have_bounds() {
        assert_eq!(parse(0, "", &[]).unwrap().size, 50);
        assert_eq!(parse(100, "", &[]).unwrap().size, 100);
        assert_eq!(crate::status::bad_fields(&parse(101, "", &[]).unwrap_err()), ["page_size"]);
    }
}

//! ListItems: what lies in a folder, a page at a time.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::refusal::Refusal;
use crate::base::limits::STORE_LIST_MAX;
use crate::http::uri;
use crate::service::objects::content_type;
use crate::store::objects::table::After;
use crate::store::objects::{Found, Item, ObjectPath, Objects, path};

/// The body of the answer to `GET /store/{container}?Path=…&MaxResults=…&NextToken=…`.
pub fn page(objects: &Objects, container: &str, query: &str, now: u64) -> Result<Value, Refusal> {
    let given = |name: &'static str| -> Result<Option<String>, Refusal> {
        let Some(value) = uri::parameter(query, name) else { return Ok(None) };
        // A plus is what some clients write for a space, and no name has one.
        match percent_decode_str(value).decode_utf8() {
            Ok(text) => Ok(Some(text.into_owned())),
            Err(_) => Err(Refusal::Parameter { name, found: value.to_owned(), expected: "UTF-8" }),
        }
    };
    let max = match given("MaxResults")? {
        None => STORE_LIST_MAX,
        Some(text) => text.parse().ok().filter(|max| (1..=STORE_LIST_MAX).contains(max)).ok_or(Refusal::Parameter {
            name: "MaxResults",
            found: text,
            expected: "a number from 1 to 1000",
        })?,
    };
    let after = match given("NextToken")? {
        None => None,
        Some(token) => Some(read_token(&token).ok_or(Refusal::Parameter {
            name: "NextToken",
            found: token,
            expected: "the token of an earlier page",
        })?),
    };
    let path = given("Path")?.unwrap_or_default();
    let folder = path::folder(container, &path)?;
    let mut items = objects.table().list(&folder, after.as_ref(), max + 1, |object| !object.is_expired(now));
    // A path may also be that of an object.
    if items.is_empty()
        && after.is_none()
        && let Ok(path) = ObjectPath::new(container, path.trim_start_matches('/'))
        && let Some(Found::Object(object)) = objects.find(&path, now)
    {
        items.push(Item::Object(object));
    }
    let is_more = items.len() > max;
    items.truncate(max);
    let mut page = json!({ "Items": items.iter().map(item).collect::<Vec<_>>() });
    if let (true, Some(last)) = (is_more, items.last()) {
        page["NextToken"] = write_token(&last.after()).into();
    }
    Ok(page)
}

fn item(item: &Item) -> Value {
    match item {
        Item::Folder(name) => json!({ "Name": name, "Type": "FOLDER" }),
        Item::Object(object) => json!({
            "Name": object.path.name(),
            "Type": "OBJECT",
            "ETag": object.digest.to_string(),
            "LastModified": object.modified as f64 / 1_000.0,
            "ContentType": content_type(&object.path, &object.meta.content_type),
            "ContentLength": object.len,
        }),
    }
}

/// Opaque to clients: which item came last.
fn write_token(after: &After) -> String {
    URL_SAFE_NO_PAD.encode(match after {
        After::Object(name) => format!("o{name}"),
        After::Folder(name) => format!("f{name}"),
    })
}

fn read_token(token: &str) -> Option<After> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let name = text
        .get(1..)
        .filter(|name| (1..=path::PATH_BYTES_MAX).contains(&name.len()) && !name.contains(['/', '\u{1}']))?;
    match text.as_bytes()[0] {
        b'o' => Some(After::Object(name.to_owned())),
        b'f' => Some(After::Folder(name.to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tokens_are_read_as_they_were_written() {
        for after in [After::Object("a.ts".into()), After::Folder("b".into())] {
            assert_eq!(read_token(&write_token(&after)), Some(after));
        }
        for bad in
            ["", "a", "=", &URL_SAFE_NO_PAD.encode("o"), &URL_SAFE_NO_PAD.encode("xa"), &URL_SAFE_NO_PAD.encode("oa/b")]
        {
            assert_eq!(read_token(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_token_may_come(token in "[-_A-Za-z0-9=é]{0,40}") {
            let _ = read_token(&token);
        }
    }
}

//! Tests of reading JSON as Go reads it; the expectations were taken from Go's `json.Unmarshal`.

use super::*;

fn text_of(json: &[u8]) -> Option<String> {
    read(json, Repeats::Refused, Json::text).unwrap()
}

#[test]
fn broken_unicode_is_replaced_byte_by_byte() {
    assert_eq!(text_of(b"\"caf\xe9 \xe2\x82\"").unwrap(), "caf\u{fffd} \u{fffd}\u{fffd}");
    assert_eq!(text_of(br#""\ud83d""#).unwrap(), "\u{fffd}");
    assert_eq!(text_of(br#""\ud83dA\ud83d\ude00""#).unwrap(), "\u{fffd}A\u{1f600}");
    assert_eq!(text_of(br#""\ud83d\ud83d\ude00\ude00""#).unwrap(), "\u{fffd}\u{1f600}\u{fffd}");
    assert_eq!(text_of(br#""a\"\\\/\b\f\n\r\tA""#).unwrap(), "a\"\\/\u{8}\u{c}\n\r\tA");
}

#[test]
fn the_case_of_keys_does_not_matter_nor_do_two_letters_of_unicode() {
    for key in ["mediaType", "MEDIATYPE", "mediatype"] {
        assert!(is_same_key(key, "mediaType"), "{key}");
    }
    assert!(is_same_key("\u{17f}ize", "size") && is_same_key("\u{212a}ey", "key"));
    assert!(!is_same_key("media_type", "mediaType") && !is_same_key("m\u{e9}diaType", "mediaType"));
}

#[test]
fn a_known_key_that_is_there_twice_is_refused_or_the_last_one_counts() {
    let document = br#"{"a": {"Size": 1, "x": 1, "x": 2, "SIZE": 2}}"#;
    let read_as = |repeats| {
        read(document, repeats, |json| {
            let mut size = None;
            json.fields(&["a"], |json, _| {
                json.fields(&["size"], |json, _| {
                    size = json.integer()?.or(size);
                    Ok(())
                })
            })?;
            Ok(size)
        })
    };
    assert_eq!(read_as(Repeats::LastWins), Ok(Some(2)));
    let error = read_as(Repeats::Refused).unwrap_err().to_string();
    assert!(error.starts_with("a.size: the key is there twice (as \"Size\" and \"SIZE\")"), "{error}");
}

#[test]
fn null_is_read_as_nothing() {
    let texts = |json: &[u8]| read(json, Repeats::Refused, Json::texts);
    assert_eq!(texts(b"null"), Ok(Vec::new()));
    assert_eq!(texts(br#"["a", null]"#), Ok(vec!["a".to_owned(), String::new()]));
    let named = read(br#"{"a": null, "b": "1", "b": "2"}"#, Repeats::Refused, Json::texts_by_name).unwrap();
    assert_eq!(named.into_iter().collect::<Vec<_>>(), [("a".into(), String::new()), ("b".into(), "2".into())]);
    assert_eq!(read(b" null ", Repeats::Refused, Json::integer), Ok(None));
    assert_eq!(read(b"null", Repeats::Refused, Json::boolean), Ok(None));
}

#[test]
fn what_nobody_reads_may_be_of_any_size_and_depth() {
    let deep = format!("{{\"deep\": {}1e999999{}, \"size\": 3}}", "[".repeat(9_000), "]".repeat(9_000));
    let mut size = None;
    let read_size = |json: &mut Json<'_>| {
        json.fields(&["size"], |json, _| {
            size = json.integer()?;
            Ok(())
        })
    };
    assert_eq!(read(deep.as_bytes(), Repeats::Refused, read_size), Ok(()));
    assert_eq!(size, Some(3));
    let deeper = "[".repeat(20_000) + &"]".repeat(20_000);
    assert!(read(deeper.as_bytes(), Repeats::Refused, Json::skip).is_err());
}

#[test]
fn a_value_of_another_kind_is_named() {
    let error = |json: &[u8]| read(json, Repeats::Refused, Json::texts).unwrap_err().to_string();
    assert_eq!(error(b"{}"), "it is an object, not a list");
    assert_eq!(error(b"[1]"), "it is a number, not a text");
    let integer = |json: &[u8]| read(json, Repeats::Refused, Json::integer).is_ok();
    assert!(integer(b"-12") && !integer(b"1.0") && !integer(b"1e3") && !integer(b"\"1\""));
}

#[test]
fn what_go_does_not_take_for_json_is_not_read() {
    let broken: [&[u8]; 22] = [
        b"",
        b" ",
        b"{",
        b"[",
        b"[1,]",
        b"{\"a\":1,}",
        b"{a:1}",
        b"{\"a\" 1}",
        b"[1 2]",
        b"01",
        b"-",
        b"1.",
        b".5",
        b"1e",
        b"+1",
        b"nul",
        b"\"\n\"",
        b"\"\\x\"",
        b"\"\\u12g4\"",
        b"1 2",
        b"\"",
        b"\xef\xbb\xbf1",
    ];
    for json in broken {
        assert!(read(json, Repeats::Refused, Json::skip).is_err(), "{}", String::from_utf8_lossy(json));
    }
    for json in [&b"0"[..], b"-0.1e+5", b" [ { \"a\" : [ ] , \"\" : { } } , true , false , null ] ", b"\"\""] {
        assert_eq!(read(json, Repeats::Refused, Json::skip), Ok(()), "{}", String::from_utf8_lossy(json));
    }
    let error = read(b"{\n \"a\": x}", Repeats::Refused, Json::skip).unwrap_err().to_string();
    assert_eq!(error, "it is not JSON: line 2, column 7");
}

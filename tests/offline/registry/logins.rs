//! Passwords and tokens: given to those who may have them, renewed in time, and never for ever.

use super::*;

/// A registry that wants a bearer token, which it hands out itself at `/token`.
fn token_registry(answer: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> LyingRegistry {
    let tokens = AtomicUsize::new(0);
    LyingRegistry::start(move |seen| {
        if seen.path.starts_with("/token") {
            return answer(seen, tokens.fetch_add(1, Ordering::SeqCst));
        }
        match seen.header("authorization") {
            Some(header) if header == format!("Bearer t{}", tokens.load(Ordering::SeqCst) - 1) => Reply::ok("{}"),
            _ => {
                let host = seen.header("host").unwrap();
                let scope = "repository:team/app:pull";
                Reply::challenge(format!(r#"Bearer realm="http://{host}/token?x=y",service="s e",scope="{scope}""#))
            }
        }
    })
}

#[test]
fn a_token_is_asked_for_with_scope_and_password_and_used_again() {
    let server = token_registry(|_, count| Reply::ok(format!(r#"{{"access_token":"t{count}"}}"#)));
    let (options, _folder) = login(&server.host(), ENTRY);
    let registry = open_as(&server.host(), ":1", &options);
    registry.root().unwrap();
    registry.root().unwrap();
    let asked: Vec<_> = server.seen().into_iter().filter(|seen| seen.path.starts_with("/token")).collect();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("authorization"), Some(BASIC));
    assert_eq!(asked[0].path, "/token?x=y&service=s+e&scope=repository%3Ateam%2Fapp%3Apull&account=me");
    assert!(!format!("{registry:?}").contains("hunter2"));
}

#[test]
fn anybody_may_get_a_token() {
    let server = token_registry(|_, count| Reply::ok(format!(r#"{{"token":"t{count}","expires_in":300}}"#)));
    open(&server).root().unwrap();
    assert!(server.seen().iter().all(|seen| seen.header("authorization").is_none_or(|text| text == "Bearer t0")));
}

#[test]
fn a_token_that_is_not_taken_any_more_is_renewed() {
    let uses = AtomicUsize::new(0);
    let tokens = AtomicUsize::new(0);
    let server = LyingRegistry::start(move |seen| {
        if seen.path.starts_with("/token") {
            return Reply::ok(format!(r#"{{"token":"t{}"}}"#, tokens.fetch_add(1, Ordering::SeqCst)));
        }
        let newest = format!("Bearer t{}", tokens.load(Ordering::SeqCst).wrapping_sub(1));
        // Each token is good for two requests.
        if seen.header("authorization") == Some(&newest) && uses.fetch_add(1, Ordering::SeqCst) % 3 < 2 {
            return Reply::ok("{}");
        }
        Reply::challenge(format!(r#"Bearer realm="http://{}/token""#, seen.header("host").unwrap()))
    });
    let registry = open(&server);
    for _ in 0..4 {
        registry.root().unwrap();
    }
    assert_eq!(server.seen().iter().filter(|seen| seen.path.starts_with("/token")).count(), 2);
    assert!(server.seen().iter().any(|seen| seen.path.contains("scope=repository%3Ateam%2Fapp%3Apull")));
}

#[test]
fn a_token_is_renewed_before_it_is_too_old() {
    let server = token_registry(|_, count| Reply::ok(format!(r#"{{"token":"t{count}","expires_in":1.05}}"#)));
    let registry = open(&server);
    registry.root().unwrap();
    std::thread::sleep(Duration::from_millis(1000));
    registry.root().unwrap();
    let count = |is: fn(&Seen) -> bool| server.seen().iter().filter(|seen| is(seen)).count();
    assert!(count(|seen| seen.path.starts_with("/token")) >= 2);
    let challenged = count(|seen| seen.path.starts_with("/v2/") && seen.header("authorization").is_none());
    assert_eq!(challenged, 1, "the second token was asked for without being told");
}

#[test]
fn a_registry_that_refuses_every_token_is_not_asked_for_ever() {
    let server = LyingRegistry::start(|seen| match seen.path.starts_with("/token") {
        true => Reply::ok(r#"{"token":"t"}"#),
        false => Reply::challenge(format!(r#"Bearer realm="http://{}/token""#, seen.header("host").unwrap())),
    });
    fails(open(&server).root(), ErrorKind::Denied, &["needs a login", "docker login 127.0.0.1", "--registry-auth"]);
    assert_eq!(server.seen().len(), 3);
    let (options, folder) = login(&server.host(), ENTRY);
    let registry = open_as(&server.host(), ":1", &options);
    let file = folder.path().join("auth.json");
    fails(registry.root(), ErrorKind::Denied, &["refused the credentials from", &file.display().to_string()]);
}

#[test]
fn an_identity_token_is_exchanged_in_a_form() {
    let server = token_registry(|seen, count| match seen.method.as_str() {
        "POST" => Reply::ok(format!(r#"{{"access_token":"t{count}","expires_in":3600}}"#)),
        _ => Reply::new(405, ""),
    });
    let (options, _folder) = login(&server.host(), r#"{"auth":"MDAwMDo=","identitytoken":"a&b="}"#);
    open_as(&server.host(), ":1", &options).root().unwrap();
    let post = server.seen().into_iter().find(|seen| seen.method == "POST").unwrap();
    assert_eq!(post.header("content-type"), Some("application/x-www-form-urlencoded"));
    for field in ["grant_type=refresh%5Ftoken", "refresh_token=a%26b%3D", "client_id=imglint", "service=s%20e"] {
        assert!(post.body.split('&').any(|part| part == field), "{field} is not in {}", post.body);
    }
}

#[test]
fn a_password_is_shown_only_when_asked_for_and_a_wrong_one_is_told() {
    let server = LyingRegistry::start(|seen| match seen.header("authorization") {
        Some(BASIC) => Reply::ok("{}"),
        // Some registries send back what they were sent.
        Some(other) => Reply::error(401, "X", &format!("{other} hunter3")).with("WWW-Authenticate", "Basic realm=x"),
        None => Reply::challenge("Basic realm=\"x\""),
    });
    let (options, _folder) = login(&server.host(), ENTRY);
    open_as(&server.host(), ":1", &options).root().unwrap();
    assert_eq!(server.seen()[0].header("authorization"), None);
    let (options, folder) = login(&server.host(), r#"{"username":"me","password":"hunter3"}"#);
    let registry = open_as(&server.host(), ":1", &options);
    let file = folder.path().join("auth.json").display().to_string();
    let text = fails(registry.root(), ErrorKind::Denied, &["refused the credentials from", &file]);
    assert!(!text.contains("hunter3") && !text.contains("bWU6aHVudGVyMw"), "{text}");
    fails(open(&server).root(), ErrorKind::Denied, &["needs a login"]);
}

#[test]
fn a_wrong_password_at_the_token_server_is_told() {
    let server = token_registry(|_, _| Reply::new(401, r#"{"details":"incorrect username or password"}"#));
    let (options, _folder) = login(&server.host(), ENTRY);
    let outcome = open_as(&server.host(), ":1", &options).root();
    fails(outcome, ErrorKind::Denied, &["refused the credentials", "incorrect username or password"]);
}

#[test]
fn a_registry_that_hides_private_images_is_asked_at_its_entrance() {
    let server = LyingRegistry::start(|seen| match (seen.header("authorization"), seen.path.as_str()) {
        (Some(BASIC), _) => Reply::ok("{}"),
        (_, "/v2/") => Reply::challenge("Basic realm=\"x\""),
        _ => Reply::error(404, "NAME_UNKNOWN", "no such repository"),
    });
    let (options, _folder) = login(&server.host(), ENTRY);
    open_as(&server.host(), ":1", &options).root().unwrap();
}

#[test]
fn a_login_of_another_kind_is_named() {
    let server = LyingRegistry::start(|_| Reply::challenge("Negotiate"));
    fails(open(&server).root(), ErrorKind::Denied, &["Negotiate"]);
}

#[test]
fn a_helper_that_is_missing_matters_only_when_a_login_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    std::fs::write(&path, r#"{"credsStore":"desktop"}"#).unwrap();
    let with_helper = RegistryOptions { auth_file: Some(path), ..options() };
    let server = token_registry(|_, count| Reply::ok(format!(r#"{{"token":"t{count}"}}"#)));
    open_as(&server.host(), ":1", &with_helper).root().unwrap();
    let server = LyingRegistry::start(|_| Reply::challenge("Basic realm=\"x\""));
    let outcome = open_as(&server.host(), ":1", &with_helper).root();
    fails(outcome, ErrorKind::Denied, &["wants a login, but", "docker-credential-desktop", "config.json"]);
}

#[test]
fn no_secret_that_a_registry_sends_back_is_shown_not_even_a_part_of_it() {
    let server = LyingRegistry::start(|seen| {
        if seen.path.starts_with("/token") {
            return Reply::ok(r#"{"token":"hunter2-issued-token"}"#);
        }
        match seen.header("authorization") {
            None => Reply::challenge(format!(r#"Bearer realm="http://{}/token""#, seen.header("host").unwrap())),
            // Cut where messages are cut.
            Some(header) => Reply::error(400, "X", &format!("{}{header}", "y".repeat(180))),
        }
    });
    let (options, _folder) = login(&server.host(), ENTRY);
    let text = fails(open_as(&server.host(), ":1", &options).root(), ErrorKind::Broken, &["yyyBearer …"]);
    assert!(!text.contains("hunter"), "{text}");
}

#[test]
fn only_the_scope_that_is_needed_is_asked_for() {
    let server = LyingRegistry::start(|seen| match seen.header("authorization") {
        _ if seen.path.starts_with("/token") => Reply::ok(r#"{"Token":"t"}"#),
        Some("Bearer t") => Reply::ok("{}"),
        _ => {
            let host = seen.header("host").unwrap();
            Reply::challenge(format!(
                r#"Bearer realm="http://{host}/token",scope="repository:victim/private:pull,push""#
            ))
        }
    });
    open(&server).root().unwrap();
    let asked = server.seen().into_iter().find(|seen| seen.path.starts_with("/token")).unwrap();
    assert_eq!(asked.path, "/token?scope=repository%3Ateam%2Fapp%3Apull");
}

#[test]
fn a_password_next_to_a_token_is_for_registries_that_take_only_passwords() {
    let server = LyingRegistry::start(|seen| match seen.header("authorization") {
        Some(BASIC) => Reply::ok("{}"),
        _ => Reply::challenge("Basic realm=Registry Realm"),
    });
    let (options, _folder) = login(&server.host(), r#"{"auth":"bWU6aHVudGVyMg==","identitytoken":"t"}"#);
    open_as(&server.host(), ":1", &options).root().unwrap();
    let (options, _folder) = login(&server.host(), r#"{"auth":"bWU6","identitytoken":"t"}"#);
    fails(open_as(&server.host(), ":1", &options).root(), ErrorKind::Denied, &["only a token"]);
}

#[test]
fn a_token_server_without_post_is_asked_in_the_older_way() {
    let server = token_registry(|seen, count| match seen.method.as_str() {
        "POST" => Reply::new(404, ""),
        // :the-token
        _ if seen.header("authorization") == Some("Basic OnRoZS10b2tlbg==") => {
            Reply::ok(format!(r#"{{"token":"t{}"}}"#, count))
        }
        _ => Reply::new(401, ""),
    });
    let (options, _folder) = login(&server.host(), r#"{"identitytoken":"the-token"}"#);
    open_as(&server.host(), ":1", &options).root().unwrap();
}

#[test]
fn a_variable_may_hold_credentials_and_a_broken_one_holds_none() {
    let server = LyingRegistry::start(|seen| match seen.header("authorization") {
        Some(BASIC) => Reply::ok("{}"),
        _ => Reply::challenge("Basic realm=\"x\""),
    });
    let with =
        |inline: String| RegistryOptions { places: Places { inline: Some(inline), ..Places::default() }, ..options() };
    let good = with(format!(r#"{{"auths":{{"{}":{ENTRY}}}}}"#, server.host()));
    open_as(&server.host(), ":1", &good).root().unwrap();
    let broken = with("{\"hunter2".to_owned());
    fails(open_as(&server.host(), ":1", &broken).root(), ErrorKind::Denied, &["needs a login"]);
    assert!(!format!("{good:?}").contains("bWU6"));
}

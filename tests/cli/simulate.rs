//! `simulate`: the API simulator alone.

use std::time::Duration;

use crate::place::{Place, get};

#[test]
fn it_says_where_it_listens_and_answers_who_has_the_token() {
    let place = Place::new();
    let (mut simulator, url) =
        place.simulator(&["--vms", "12", "--clouds", "2", "--months", "1", "--seed", "7"]);
    let port: u16 = url.strip_prefix("http://127.0.0.1:").unwrap().parse().unwrap();
    assert_ne!(port, 0);
    assert_eq!(simulator.stdout().lines().next().unwrap(), format!("listening on {url}"));
    let (status, clouds) = get(&url, "/v3/flexVM/clouds", "PRIVATE-TOKEN: simulator\r\n");
    assert_eq!(status, 200);
    let clouds: serde_json::Value = serde_json::from_str(&clouds).unwrap();
    assert_eq!(clouds.as_array().unwrap().len(), 2);
    for headers in ["", "PRIVATE-TOKEN: wrong\r\n", "Authorization: Bearer simulator\r\n"] {
        assert_eq!(get(&url, "/v3/flexVM/clouds", headers).0, 403, "{headers:?}");
    }
    simulator.signal("TERM");
    assert_eq!(simulator.code(Duration::from_secs(10)), Some(0));
}

#[test]
fn its_token_and_largest_page_can_be_named() {
    let place = Place::new();
    let (mut simulator, url) =
        place.simulator(&["--vms", "90", "--clouds", "1", "--token", "other", "--page-cap", "3"]);
    assert_eq!(get(&url, "/v3/flexVM/clouds", "PRIVATE-TOKEN: simulator\r\n").0, 403);
    let headers = "PRIVATE-TOKEN: other\r\nRANGED-DATA: start=0,results=100\r\n";
    let (status, clouds) = get(&url, "/v3/flexVM/clouds", headers);
    assert_eq!(status, 200);
    let clouds: serde_json::Value = serde_json::from_str(&clouds).unwrap();
    let path = format!("/v3/flexVM/clouds/{}/vms?status=running", clouds[0]["id"].as_str().unwrap());
    let page: serde_json::Value = serde_json::from_str(&get(&url, &path, headers).1).unwrap();
    assert_eq!(page.as_array().unwrap().len(), 3);
    simulator.signal("INT");
    assert_eq!(simulator.code(Duration::from_secs(10)), Some(0));
}

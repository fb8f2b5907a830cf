//! Memory is given back: a program built without the project's `.cargo` would take twice as much.

use crate::place::Place;

#[test]
fn the_allocator_has_its_settings() {
    let place = Place::new();
    let mut command = place.command(["--version"]);
    let output = command.env("_RJEM_MALLOC_CONF", "stats_print:true").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    for setting in ["opt.narenas: 2", "opt.dirty_decay_ms: 0", "opt.muzzy_decay_ms: 0"] {
        assert!(
            said.contains(&format!("{setting}\n")) || said.contains(&format!("{setting} (")),
            "{said:.2000}"
        );
    }
}

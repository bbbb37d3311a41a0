//! `cargo factory toolchain`: the cache of compiled templates.

use crate::{Package, text};

#[test]
fn the_cache_of_compiled_templates_is_told_and_emptied() {
    let package = Package::new();
    let entry = format!("cache/compiled/v1/ab/{}.json", "ab".repeat(32));
    package.write(&entry, &"x".repeat(3 << 20));
    package.write("cache/v1/ab/entry.json", "a sealed kernel's");
    let told = package.json(&["toolchain", "compiled"]);
    assert_eq!(told["kept"], serde_json::json!({ "entries": 1, "bytes": 3 << 20 }));
    assert_eq!(
        (&told["limit_bytes"], &told["wrong_limit"]),
        (&(1u64 << 30).into(), &serde_json::Value::Null)
    );
    let wrong = package
        .command(&["toolchain", "compiled"])
        .env("KERNEL_FACTORY_COMPILED_MIB", "much")
        .output()
        .expect("the binary starts");
    assert!(
        text(&wrong.stdout).contains("`KERNEL_FACTORY_COMPILED_MIB` is `much`"),
        "{}",
        text(&wrong.stdout)
    );
    assert!(package.path().join(&entry).is_file());

    let said = text(&package.run(&["toolchain", "compiled", "--empty"]).stdout);
    assert!(said.contains("removed     1 compiled units, 3.0 MiB"), "{said}");
    assert!(!package.path().join(&entry).exists() && package.path().join("cache/v1/ab/entry.json").is_file());
    assert_eq!(package.json(&["toolchain", "compiled"])["kept"]["entries"], 0);
}

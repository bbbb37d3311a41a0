//! The checker must accept what the assembler accepted and a GPU ran.

use factory_conformance::{all_forms, group_names};

#[test]
fn the_checker_accepts_every_form() {
    let mut refused = Vec::new();
    let mut names = std::collections::HashSet::new();
    for group in group_names() {
        for form in all_forms(group) {
            assert!(names.insert(form.name.clone()), "{} stands twice", form.name);
            let module =
                factory_ptx::parse(&form.ptx).unwrap_or_else(|error| panic!("{}: {error}", form.name));
            if let Err(errors) = factory_ptx::check(&module) {
                refused.push(format!("{}: {}", form.name, errors[0]));
            }
        }
    }
    let shown = refused.iter().take(30).cloned().collect::<Vec<_>>().join("\n");
    assert!(refused.is_empty(), "{} forms are refused:\n{shown}", refused.len());
}

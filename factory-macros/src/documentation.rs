//! The generated function's documentation.

use std::fmt::Write as _;

use factory_spec::{BoundSpec, SizeKind};

/// Paragraphs that follow the user's own: sizes, arguments, what is known of the kernel, errors.
pub(crate) fn function(spec: &BoundSpec) -> String {
    let mut text = String::new();
    if !spec.sizes.is_empty() {
        text.push_str("\n\n# Sizes\n\n| size | verified for |\n| --- | --- |\n");
        for size in &spec.sizes {
            let _ = writeln!(text, "| `{}` | {} |", size.name, domain(&size.kind));
        }
        for constraint in &spec.constraints {
            let _ = writeln!(text, "| | `{constraint}` |");
        }
    }
    text.push_str("\n\n# Arguments\n\n| argument | dtype | shape | role |\n| --- | --- | --- | --- |\n");
    for arg in &spec.args {
        let shape: Vec<&str> = arg.shape.iter().map(|&size| spec.size(size).name.as_str()).collect();
        let apart = arg
            .row_stride
            .map_or_else(String::new, |size| format!(", rows `{}` apart", spec.size(size).name));
        let shape = if arg.scalar { "scalar".to_owned() } else { format!("`[{}]`{apart}", shape.join(", ")) };
        let _ = writeln!(text, "| `{}` | {} | {shape} | {} |", arg.name, arg.dtype, arg.role.name());
    }
    let name = &spec.name;
    let rows = match spec.args.iter().any(|arg| arg.row_stride.is_some()) {
        true => ", but for rows that lie apart, which are contiguous each and have one stride in elements",
        false => "",
    };
    let _ = write!(
        text,
        "\n\nTensors are contiguous and row-major{rows}, and what is written overlaps with nothing else.\n\n\
         # What is known of the kernel\n\n\
         The constants of the module [`mod@{name}`] say which gates it passed ([`{name}::GATES_PASSED`]), which could not be run \
         ([`{name}::GATES_NOT_RUN`]), for which targets there is PTX ([`{name}::TARGETS`]), and on what it was measured \
         ([`{name}::MEASURED`]).\n\n\
         # Errors\n\n\
         An error when the arguments are not what the kernel was verified for, or when it cannot be loaded or launched. The kernel \
         runs on the device of the tensors, on its default stream; [`{name}::Kernel`] launches on others."
    );
    text
}

fn domain(kind: &SizeKind) -> String {
    match kind {
        SizeKind::Fixed(value) => format!("{value}"),
        SizeKind::Derived(expression) => format!("`{expression}`"),
        SizeKind::Free { min, max, multiple_of } => {
            let mut text = match max {
                Some(max) => format!("{min} to {max}"),
                None => format!("{min} and more"),
            };
            if *multiple_of > 1 {
                let _ = write!(text, ", multiples of {multiple_of}");
            }
            text
        }
    }
}

//! `row_stride` of an argument: which size, whether it can be, and what it says of the sizes.

use super::WrittenArg;
use super::reader::{Entry, Reader, Section};
use crate::{Problem, Size, SizeBinary, SizeExpr, SizeId, Span};

/// The size that is named, with its place; complains where the argument can have no such stride.
pub(super) fn read(
    reader: &mut Reader,
    entry: Entry<'_>,
    arg: &str,
    section: &Section<'_>,
    sizes: &[Size],
    shape: &[SizeId],
) -> Option<(SizeId, Span)> {
    let text = reader.string(entry)?;
    let known: Vec<&str> = sizes.iter().map(|size| size.name.as_str()).collect();
    let Some(index) = known.iter().position(|&name| name == text.text) else {
        reader.undefined_size(text.map.span(0, text.text.len()), &text.text, &known);
        return None;
    };
    let dimensions =
        section.get("shape").map(|entry| entry.value.as_array().map_or(1, |list| list.iter().count()));
    let reason = match (dimensions, shape.last()) {
        (None, _) => "it is a scalar".to_owned(),
        (Some(0 | 1), _) => "it has fewer than two dimensions, so that no row follows another".to_owned(),
        // A dimension that is no size is complained about already.
        (Some(dimensions), _) if dimensions != shape.len() => return None,
        (_, Some(row)) if row.index() == index => {
            format!(
                "that is the length of a row, so that the tensor is dense for all values of `{}`",
                text.text
            )
        }
        (_, Some(row)) => match (sizes[index].most(), sizes[row.index()].least()) {
            (Some(most), Some(least)) if most < least => {
                format!(
                    "it is at most {most}, and a row has at least {least} elements (`{}`)",
                    sizes[row.index()].name
                )
            }
            _ => return Some((SizeId(index as u32), entry.span)),
        },
        (_, None) => return None,
    };
    let problem = Problem::RowStride { arg: arg.to_owned(), stride: text.text, reason };
    reader.note(entry.span, problem);
    None
}

/// What row strides say of the sizes: each is at least the length of its rows. Once each, in the order of the arguments.
pub(super) fn constraints(sizes: &[Size], args: &[WrittenArg]) -> Vec<(SizeExpr, Span)> {
    let mut constraints: Vec<(SizeExpr, Span)> = Vec::new();
    for written in args {
        let (Some(stride), Some(row)) = (written.arg.row_stride, written.arg.shape.last()) else { continue };
        let size = |id: SizeId| Box::new(SizeExpr::Size(sizes[id.index()].name.clone()));
        let constraint = SizeExpr::Binary(SizeBinary::Ge, size(stride), size(*row));
        if !constraints.iter().any(|(known, _)| *known == constraint) {
            constraints.push((constraint, written.stride_span));
        }
    }
    constraints
}

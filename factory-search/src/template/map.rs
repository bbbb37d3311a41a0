//! Tensor maps among a launch's parameters.

use factory_spec::{
    MapBase, MapElement, MapFill, MapInterleave, MapL2Promotion, MapSwizzle, SizeExpr, TensorMapPlan,
    did_you_mean,
};

use super::error::TemplateProblem;
use super::read::{Entry, Reader};

const KEYS: &[&str] = &[
    "map",
    "offset",
    "element",
    "dims",
    "strides",
    "box",
    "element_strides",
    "interleave",
    "swizzle",
    "l2_promotion",
    "fill",
];

/// `{ map = "x", dims = ["n", "m"], strides = ["2 * n"], box = [64, "ROWS"], swizzle = "128B" }`: the memory that it is
/// over by name, and the rest as plans have it, innermost dimension first. Whether the name is an argument or a scratch
/// buffer is found out later; until then it is kept as an argument.
pub(super) fn map(reader: &mut Reader, entries: &[Entry<'_>]) -> Option<TensorMapPlan> {
    reader.only(entries, "a tensor map", KEYS);
    let get = |key: &str| entries.iter().copied().find(|entry| entry.key == key);
    let over = reader.string(get("map")?)?.value;
    let mut list = |key: &'static str, needed: bool| -> Option<Vec<SizeExpr>> {
        let Some(entry) = get(key) else {
            if !needed {
                return Some(Vec::new());
            }
            let span = entries.first()?.key_span;
            let example = "{ map = \"x\", dims = [\"n\", \"m\"], strides = [\"2 * n\"], box = [64, 8] }";
            reader.note(span, TemplateProblem::MissingKey { key, table: "a tensor map", example });
            return None;
        };
        let list = reader.list(entry, "a list of expressions, innermost dimension first")?;
        list.into_iter().map(|element| Some(reader.expression(element)?.value)).collect()
    };
    let dims = list("dims", true);
    let strides = list("strides", true);
    let box_dims = list("box", true);
    let element_strides = list("element_strides", false);
    let offset = match get("offset") {
        Some(entry) => Some(reader.expression(entry)?.value),
        None => None,
    };
    macro_rules! word {
        ($key:literal, $kind:ident) => {
            match get($key) {
                Some(entry) => {
                    let known: Vec<&'static str> = $kind::ALL.iter().map(|value| value.word()).collect();
                    let text = choice(reader, entry, $key, &known)?;
                    $kind::ALL.iter().copied().find(|value| value.word() == text)
                }
                None => None,
            }
        };
    }
    let element = word!("element", MapElement);
    let interleave = word!("interleave", MapInterleave).unwrap_or_default();
    let swizzle = word!("swizzle", MapSwizzle).unwrap_or_default();
    let l2_promotion = word!("l2_promotion", MapL2Promotion).unwrap_or_default();
    let fill = word!("fill", MapFill).unwrap_or_default();
    Some(TensorMapPlan {
        over: MapBase::Arg(over),
        offset,
        element,
        dims: dims?,
        strides: strides?,
        box_dims: box_dims?,
        element_strides: element_strides?,
        interleave,
        swizzle,
        l2_promotion,
        fill,
    })
}

/// One of a few words.
fn choice(reader: &mut Reader, entry: Entry<'_>, key: &'static str, known: &[&str]) -> Option<String> {
    let text = reader.string(entry)?;
    if known.contains(&text.value.as_str()) {
        return Some(text.value);
    }
    let problem = TemplateProblem::UnknownWord {
        key,
        close: did_you_mean(&text.value, known.iter().copied()).map(str::to_owned),
        word: text.value,
        known: known.iter().map(|&word| word.to_owned()).collect(),
    };
    reader.note(text.span, problem);
    None
}

/// The map with its expressions replaced, and the name that it is over resolved.
pub(super) fn put(map: &TensorMapPlan, over: MapBase, put: &dyn Fn(&SizeExpr) -> SizeExpr) -> TensorMapPlan {
    let all = |list: &[SizeExpr]| list.iter().map(put).collect();
    TensorMapPlan {
        over,
        offset: map.offset.as_ref().map(put),
        dims: all(&map.dims),
        strides: all(&map.strides),
        box_dims: all(&map.box_dims),
        element_strides: all(&map.element_strides),
        ..map.clone()
    }
}

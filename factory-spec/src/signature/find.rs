//! Annotated signatures anywhere in a file.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::ForeignItemFn;

use super::{ATTRIBUTE, Found};

/// Every signature under `#[kernel_factory(…)]` in a file, in the order of the file: at the top, in modules, and in the
/// bodies of functions. An attribute may have a path before it (`factory_runtime::kernel_factory`).
///
/// Items that do not exist without a `cfg` are found too: which ones the compiler will see, a build script cannot know.
/// An annotation on something other than a bodiless function is passed over; the macro itself complains about it.
pub fn find_in_file(source: &str) -> Result<Vec<Found>, syn::Error> {
    // Most files have none, and reading text is cheaper than reading Rust.
    if !source.contains(ATTRIBUTE) {
        return Ok(Vec::new());
    }
    // A shebang line is Rust to rustc, but no token.
    let tokens: TokenStream = without_shebang(source).parse().map_err(syn::Error::from)?;
    let mut found = Vec::new();
    walk(tokens, &mut Vec::new(), &mut found);
    Ok(found)
}

/// Blanks a `#!/…` line, keeping the numbers of lines.
fn without_shebang(source: &str) -> &str {
    match source.strip_prefix("#!") {
        Some(rest) if !rest.trim_start().starts_with('[') => {
            source.find('\n').map_or("", |end| &source[end..])
        }
        _ => source,
    }
}

/// Looks through the items among tokens.
///
/// Tokens are looked at instead of syn's items: this also sees into function bodies and macros' braces, and does not
/// fail on syntax that syn does not know yet.
fn walk(tokens: TokenStream, modules: &mut Vec<String>, found: &mut Vec<Found>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        if let Some(after) = attribute_end(&tokens, at) {
            // All attributes in a row belong to one item.
            let mut end = after;
            while let Some(after) = attribute_end(&tokens, end) {
                end = after;
            }
            if let Some(one) = annotated(&tokens[at..], end - at, modules) {
                found.push(one);
            }
            at = end;
            continue;
        }
        if let TokenTree::Group(group) = &tokens[at] {
            let module = module_name(&tokens[..at]).filter(|_| group.delimiter() == Delimiter::Brace);
            let named = module.is_some();
            modules.extend(module);
            walk(group.stream(), modules, found);
            if named {
                modules.pop();
            }
        }
        at += 1;
    }
}

/// The index behind the outer attribute that starts at `at`.
fn attribute_end(tokens: &[TokenTree], at: usize) -> Option<usize> {
    match (tokens.get(at)?, tokens.get(at + 1)?) {
        (TokenTree::Punct(hash), TokenTree::Group(group))
            if hash.as_char() == '#' && group.delimiter() == Delimiter::Bracket =>
        {
            Some(at + 2)
        }
        _ => None,
    }
}

/// `mod name` right before a group.
fn module_name(before: &[TokenTree]) -> Option<String> {
    match before {
        [.., TokenTree::Ident(keyword), TokenTree::Ident(name)] if keyword == "mod" => Some(name.to_string()),
        _ => None,
    }
}

/// The item at the start of the tokens, if it is an annotated bodiless function. The first `attributes` tokens are its
/// attributes.
fn annotated(tokens: &[TokenTree], attributes: usize, modules: &[String]) -> Option<Found> {
    let mut is_annotated = false;
    for pair in tokens[..attributes].chunks_exact(2) {
        if let TokenTree::Group(group) = &pair[1] {
            is_annotated |= names_attribute(group.stream());
        }
    }
    if !is_annotated {
        return None;
    }
    let end = attributes
        + tokens[attributes..]
            .iter()
            .position(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ';'))?;
    let mut item: ForeignItemFn = syn::parse2(tokens[..=end].iter().cloned().collect()).ok()?;
    let index = item
        .attrs
        .iter()
        .position(|attribute| attribute.path().segments.last().is_some_and(|last| last.ident == ATTRIBUTE))?;
    let attribute = item.attrs.remove(index);
    let line = attribute.pound_token.spans[0].start().line;
    let attr = match &attribute.meta {
        syn::Meta::List(list) => list.tokens.clone(),
        _ => TokenStream::new(),
    };
    Some(Found { item, attr, modules: modules.to_vec(), line })
}

/// Whether an attribute's path ends in the attribute's name.
fn names_attribute(attribute: TokenStream) -> bool {
    let mut last = None;
    for token in attribute {
        match token {
            TokenTree::Ident(ident) => last = Some(ident.to_string()),
            TokenTree::Punct(punct) if punct.as_char() == ':' => {}
            _ => break,
        }
    }
    last.is_some_and(|name| name == ATTRIBUTE)
}

//! The attribute `#[kernel_factory]`.

use proc_macro::TokenStream;

/// Makes a bodiless function launch the kernel that the build script found for its spec.
#[proc_macro_attribute]
pub fn kernel_factory(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let _ = (attribute, item);
    TokenStream::new()
}

//! From attribute and signature to code.

use std::path::{Path, PathBuf};

use factory_spec::signature::{self, Attribute, Mismatch};
use factory_spec::{BoundSpec, Reference, Spec, generated};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{FnArg, ForeignItemFn, MetaNameValue, Pat, Token};

use crate::{documentation, message};

/// What the attribute makes of the item.
pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let item = match signature::parse_item(item) {
        Ok(item) => item,
        Err(errors) => return compile_errors(&errors, None),
    };
    let krate = runtime(attribute.clone());
    match signature::read_attribute(attribute).and_then(|attribute| find(&attribute, &item)) {
        Ok(found) => emit(&item, &krate, &found),
        // There is a signature: whatever else is wrong, callers of the function should not see errors of their own.
        Err(errors) => {
            [compile_errors(&errors, Some(&item)), placeholder(&item, &krate)].into_iter().collect()
        }
    }
}

/// Where the runtime is, whatever else the attribute says or lacks.
fn runtime(attribute: TokenStream) -> TokenStream {
    let values = Punctuated::<MetaNameValue, Token![,]>::parse_terminated.parse2(attribute);
    let named = values.ok().and_then(|values| values.into_iter().find(|value| value.path.is_ident("crate")));
    named.map_or_else(|| quote!(::factory_runtime), |named| named.value.into_token_stream())
}

/// One `compile_error!` for each problem, at its place.
///
/// A span that starts a type or a name of the signature is widened to all of it: a span alone cannot be on stable compilers.
fn compile_errors(errors: &[Mismatch], item: Option<&ForeignItemFn>) -> TokenStream {
    let whole: Vec<TokenStream> = item
        .iter()
        .flat_map(|item| &item.sig.inputs)
        .filter_map(|input| match input {
            FnArg::Typed(typed) => Some([typed.pat.to_token_stream(), typed.ty.to_token_stream()]),
            FnArg::Receiver(_) => None,
        })
        .flatten()
        .collect();
    let starts_at = |tokens: &&TokenStream, span: Span| {
        (*tokens).clone().into_iter().next().is_some_and(|first| first.span().start() == span.start())
    };
    let errors = errors.iter().map(|error| match whole.iter().find(|tokens| starts_at(tokens, error.span)) {
        Some(tokens) => syn::Error::new_spanned(tokens, &error.message),
        None => syn::Error::new(error.span, &error.message),
    });
    errors.map(syn::Error::into_compile_error).collect()
}

/// What the emitted code depends on.
struct Found {
    spec: BoundSpec,
    /// The spec and, where there is one, the C reference: absolute paths.
    files: Vec<String>,
}

/// As [`find_in`]; what it says names files as seen from the package's folder.
fn find(attribute: &Attribute, item: &ForeignItemFn) -> Result<Found, Vec<Mismatch>> {
    let Some(manifest) = std::env::var_os("CARGO_MANIFEST_DIR") else {
        return Err(vec![Mismatch {
            span: Span::call_site(),
            arg: None,
            message: message::no_manifest_folder(),
        }]);
    };
    let manifest = Path::new(&manifest);
    find_in(manifest, attribute, item).map_err(|mut errors| {
        let prefix = format!("{}{}", manifest.display(), std::path::MAIN_SEPARATOR);
        for error in &mut errors {
            error.message = error.message.replace(&prefix, "");
        }
        errors
    })
}

fn find_in(manifest: &Path, attribute: &Attribute, item: &ForeignItemFn) -> Result<Found, Vec<Mismatch>> {
    let at_spec = |message: String| vec![Mismatch { span: attribute.spec_span, arg: None, message }];
    let at_attribute = |message: String| vec![Mismatch { span: Span::call_site(), arg: None, message }];
    let signature = signature::read(item)?;
    let path = manifest.join(&attribute.spec);
    let spec = Spec::read(&path).map_err(|errors| at_spec(errors.render()))?;
    let bindings = signature::check(&signature, attribute, &spec)?;
    let spec = spec.bind(&bindings).map_err(|errors| at_spec(errors.render()))?;
    let key = spec.key();
    let out_dir =
        std::env::var_os("OUT_DIR").ok_or_else(|| at_attribute(message::no_build_script(&signature.name)))?;
    if !generated::folder_in(Path::new(&out_dir), &key).join(generated::MODULE).is_file() {
        return Err(at_attribute(message::not_built(&signature.name, &attribute.spec, &key.short())));
    }
    let mut paths: Vec<PathBuf> = vec![path];
    if let Reference::C(reference) = &spec.reference {
        paths.push(manifest.join(&reference.file));
    }
    let files = paths
        .iter()
        .map(|path| path.to_str().map(str::to_owned).ok_or_else(|| at_spec(message::path_is_no_text(path))));
    Ok(Found { files: files.collect::<Result<_, _>>()?, spec })
}

fn emit(item: &ForeignItemFn, krate: &TokenStream, found: &Found) -> TokenStream {
    let Found { spec, files } = found;
    let (attributes, visibility, name) = (&item.attrs, &item.vis, &item.sig.ident);
    let inputs = &item.sig.inputs;
    let documentation = documentation::function(spec);
    // Where the user says nothing, the spec's own words stand first.
    let opening =
        spec.doc.as_ref().filter(|_| !attributes.iter().any(|attribute| attribute.path().is_ident("doc")));
    let opening = opening.map(|doc| quote!(#[doc = #doc]));
    let values =
        arguments(item).map(|(argument, span)| quote_spanned!(span=> #krate::ArgValue::from(#argument)));
    let values: Vec<TokenStream> = values.collect();
    let count = values.len();
    let include = format!("/{}/{}", generated::folder(&spec.key()), generated::MODULE);
    let stream = match arguments(item).any(|(argument, _)| argument == "stream") {
        true => format_ident!("launch_stream"),
        false => format_ident!("stream"),
    };
    let module_doc = format!(
        "What is known of the kernel behind [`{name}()`], and how to load it ahead of its first use."
    );
    let launch_doc =
        format!("Checks the arguments and queues the kernel on a stream; otherwise as [`{name}()`].");
    quote! {
        #(#attributes)*
        #opening
        #[doc = #documentation]
        #visibility fn #name(#inputs) -> #krate::Result<()> {
            static CACHE: #krate::Cache = #krate::Cache::new();
            let mut arguments: [#krate::ArgValue<'_>; #count] = [#(#values),*];
            CACHE.launch(&#name::SOURCE, &mut arguments)
        }

        #[doc = #module_doc]
        #visibility mod #name {
            #[allow(unused_imports, reason = "the included file may name it by its path")]
            use #krate::KernelSource;

            include!(concat!(env!("OUT_DIR"), #include));

            // Only so that a change of these files compiles this one again.
            #(const _: &[u8] = include_bytes!(#files);)*

            /// The kernel, ready to be launched on one device. Cheap to clone.
            #[derive(Clone, Debug)]
            pub struct Kernel(#krate::Prepared);

            /// Loads the kernel for a device: once in a process, later calls find it again.
            ///
            /// # Errors
            ///
            /// When there is no kernel for the device, or it cannot be loaded.
            pub fn prepare(device: &#krate::Device) -> #krate::Result<Kernel> {
                SOURCE.prepare(device).map(Kernel)
            }

            impl Kernel {
                /// The kernel with its arguments' types erased.
                pub fn prepared(&self) -> &#krate::Prepared {
                    &self.0
                }
            }
        }

        impl #name::Kernel {
            #[doc = #launch_doc]
            ///
            /// # Errors
            ///
            /// When the arguments are not what the kernel was verified for, or the driver refuses the launch.
            pub fn launch(&self, #stream: &#krate::Stream, #inputs) -> #krate::Result<()> {
                let mut arguments: [#krate::ArgValue<'_>; #count] = [#(#values),*];
                self.prepared().launch(#stream, &mut arguments)
            }
        }
    }
}

/// The function alone, beside a `compile_error!`: so that only the error is reported, not its consequences.
fn placeholder(item: &ForeignItemFn, krate: &TokenStream) -> TokenStream {
    let (attributes, visibility, name, inputs) = (&item.attrs, &item.vis, &item.sig.ident, &item.sig.inputs);
    quote! {
        #(#attributes)*
        #[allow(unused_variables, missing_docs, reason = "stands in for a kernel that could not be embedded")]
        #visibility fn #name(#inputs) -> #krate::Result<()> {
            ::core::unreachable!()
        }
    }
}

/// Names of the arguments, with the spans of their types. [`signature::read`] has refused everything but plain names.
fn arguments(item: &ForeignItemFn) -> impl Iterator<Item = (&Ident, Span)> {
    item.sig.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(typed) => match &*typed.pat {
            Pat::Ident(pattern) => Some((&pattern.ident, syn::spanned::Spanned::span(&*typed.ty))),
            _ => None,
        },
        FnArg::Receiver(_) => None,
    })
}

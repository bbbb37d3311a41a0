//! Puts the kernels of the annotated signatures into the crate.

fn main() {
    factory_build::compile();
}

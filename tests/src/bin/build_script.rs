//! What a package's `build.rs` does, as a program that tests can start, several at once, and kill.

fn main() {
    factory_build::compile();
}

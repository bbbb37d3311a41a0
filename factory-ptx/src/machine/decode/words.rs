//! The modifiers of one instruction, taken one by one: what nobody took is a form that the machine does not know.

use crate::ast::{Instruction, Type};
use crate::machine::error::Unsupported;

pub(super) struct Words<'i> {
    instruction: &'i Instruction,
    left: Vec<&'i str>,
}

impl<'i> Words<'i> {
    pub(super) fn new(instruction: &'i Instruction) -> Words<'i> {
        Words { instruction, left: instruction.modifiers.iter().map(String::as_str).collect() }
    }

    /// Takes this word if it is there.
    pub(super) fn take(&mut self, word: &str) -> bool {
        match self.left.iter().position(|left| *left == word) {
            Some(position) => {
                self.left.remove(position);
                true
            }
            None => false,
        }
    }

    /// Takes the first of these words that is there and returns its index.
    pub(super) fn take_one(&mut self, words: &[&str]) -> Option<usize> {
        words.iter().position(|word| self.take(word))
    }

    /// Takes every word that satisfies the condition.
    pub(super) fn drop_all(&mut self, condition: impl Fn(&str) -> bool) {
        self.left.retain(|word| !condition(word));
    }

    /// Takes the first word if it is one of a type.
    pub(super) fn ty(&mut self) -> Result<Type, Unsupported> {
        let found = self.left.iter().enumerate().find_map(|(at, word)| Some((at, Type::parse(word)?)));
        match found {
            Some((at, ty)) => {
                self.left.remove(at);
                Ok(ty)
            }
            None => Err(unsupported(self.instruction, "a type")),
        }
    }

    /// The next type, if there is one more.
    pub(super) fn another_type(&mut self) -> Option<Type> {
        self.ty().ok()
    }

    /// The words that are left.
    pub(super) fn left(&self) -> &[&'i str] {
        &self.left
    }

    /// Fails when a word was not taken.
    pub(super) fn finish(self) -> Result<(), Unsupported> {
        match self.left.first() {
            None => Ok(()),
            Some(word) => {
                Err(unsupported(self.instruction, format!("a meaning for `.{word}` on this instruction")))
            }
        }
    }
}

/// An [`Unsupported`] that names this instruction.
pub(super) fn unsupported(instruction: &Instruction, needs: impl Into<String>) -> Unsupported {
    Unsupported { line: instruction.span.line, form: instruction.mnemonic(), needs: needs.into() }
}

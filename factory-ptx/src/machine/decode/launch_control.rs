//! `clusterlaunchcontrol` (PTX ISA 9.0, section 9.7.13.18).

use super::function::Decoder;
use super::words::{Words, unsupported};
use crate::ast::{Instruction, Type};
use crate::machine::error::Unsupported;
use crate::machine::inst::launch_control::LaunchControl;
use crate::machine::inst::{Kind, Space};
use crate::machine::lanes::{NONE, Slots};
use crate::machine::report::Class;

impl<'m> Decoder<'_, 'm> {
    pub(super) fn launch_control(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        let mut slots = Slots { d: NONE, a: NONE, b: NONE, c: NONE, e: NONE };
        let op = match words.take_one(&["try_cancel", "query_cancel"]) {
            Some(0) => {
                let _ = (words.take("async"), words.take("mbarrier::complete_tx::bytes"));
                let space = if words.take("shared::cta") { Space::Shared } else { Space::Generic };
                let multicast = words.take("multicast::cluster::all");
                let _ = words.ty()?;
                let [target, barrier] = i.operands.as_slice() else {
                    return Err(unsupported(i, "2 operands"));
                };
                let (target, barrier) = (self.address(i, target)?, self.address(i, barrier)?);
                LaunchControl::TryCancel { space, target, barrier, multicast }
            }
            Some(_) => {
                let [d, answer] = i.operands.as_slice() else { return Err(unsupported(i, "2 operands")) };
                slots.a = self.source(i, answer, Type::B128)?;
                if words.take("is_canceled") {
                    slots.d = self.predicate_dest(i, d)?;
                    words.drop_all(|word| matches!(word, "pred" | "b128"));
                    LaunchControl::IsCanceled
                } else {
                    words.drop_all(|word| {
                        word.starts_with("get_first_ctaid") || matches!(word, "v4" | "b32" | "b128")
                    });
                    LaunchControl::FirstBlock
                }
            }
            None => return Err(unsupported(i, "this operation")),
        };
        words.finish()?;
        self.emit(Class::Control, Kind::LaunchControl(Box::new(op)), slots);
        Ok(())
    }
}

//! A weights file on its way: what has arrived of it is read while the rest is still coming, and is not kept.

use safetensors::tensor::TensorView;

use crate::error::Error;
use crate::infer::weights::Header;
use crate::model::weights::ModelInfo;

/// How far a file has arrived.
pub(super) struct StreamingReader {
    /// How many bytes there have been.
    arrived: usize,
    /// Those of a header or of a tensor of which more must come.
    begun: Vec<u8>,
    state: State,
}

enum State {
    /// More bytes of the header are needed.
    Awaited,
    /// There is none.
    Unreadable(Error),
    Read(Box<Known>),
}

/// What the header tells.
struct Known {
    header: Header,
    info: Result<ModelInfo, Error>,
    /// How many tensors have been visited, in the file's order.
    visited: usize,
}

impl StreamingReader {
    pub fn new() -> Self {
        Self { arrived: 0, begun: Vec::new(), state: State::Awaited }
    }

    /// Takes the next piece, and calls `visit` with what the file says about itself and the name and the content of
    /// every tensor that it completes, in the file's order: in the files that we write, the scales of whole numbers are
    /// in front of them.
    pub fn push(&mut self, piece: &[u8], visit: &mut dyn FnMut(&ModelInfo, &str, TensorView)) {
        self.arrived += piece.len();
        let until_now;
        let mut piece = piece;
        if let State::Awaited = self.state {
            self.begun.extend_from_slice(piece);
            self.state = match Header::arriving(&self.begun) {
                Ok(None) => return,
                Ok(Some(header)) => State::Read(Box::new(Known { info: header.info(), header, visited: 0 })),
                Err(error) => State::Unreadable(error),
            };
            until_now = std::mem::take(&mut self.begun);
            piece = &until_now;
        }
        let State::Read(known) = &mut self.state else { return };
        let Known { header, info: Ok(info), visited } = &mut **known else { return };
        // The first tensor begins behind the header.
        let before = self.arrived - piece.len();
        piece = piece.get(header.start.saturating_sub(before)..).unwrap_or_default();
        while let Some((name, tensor)) = header.nth(*visited) {
            let (from, to) = tensor.data_offsets;
            let Some(data) = take(&mut self.begun, &mut piece, to - from) else { return };
            if let Ok(view) = TensorView::new(tensor.dtype, tensor.shape.clone(), data) {
                visit(info, name, view);
            }
            self.begun.clear();
            *visited += 1;
        }
    }

    /// What the file says about itself, once all of it has arrived.
    ///
    /// # Errors
    /// Of a file that is cut short, or whose tensors are not those of its network.
    pub fn finish(self) -> Result<ModelInfo, Error> {
        match self.state {
            // It says what is missing.
            State::Awaited => Header::of(&self.begun)?.info(),
            State::Unreadable(error) => Err(error),
            State::Read(known) => {
                known.header.ends_at(self.arrived)?;
                let info = known.info?;
                known.header.fits(&info)?;
                Ok(info)
            }
        }
    }
}

/// The next `size` bytes of what has begun and of a piece, once there are so many; copied only where they are in both.
fn take<'bytes, 'piece: 'bytes>(
    begun: &'bytes mut Vec<u8>,
    piece: &mut &'piece [u8],
    size: usize,
) -> Option<&'bytes [u8]> {
    if begun.is_empty()
        && let Some((whole, rest)) = piece.split_at_checked(size)
    {
        *piece = rest;
        return Some(whole);
    }
    let (next, rest) = piece.split_at(piece.len().min(size - begun.len()));
    begun.extend_from_slice(next);
    *piece = rest;
    (begun.len() == size).then_some(begun)
}

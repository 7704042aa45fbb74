//! Whether a JPEG file is whole: decoders paint what is missing grey and say nothing.
//!
//! The file is walked as ITU-T T.81 describes it, without computing a pixel: its markers up to the end of the image,
//! and the codes of each scan, of which there must be as many as blocks, and nothing but padding after them. So files
//! that were cut, that end in zeros, or that miss a piece are found.

use std::iter;

/// What is asked of each scan, and no more: components, tables and progression.
#[derive(Default)]
struct Frame {
    is_progressive: bool,
    /// Whether scans of this kind are Huffman-coded and walked here; of others only the markers are looked at.
    is_walked: bool,
    width: usize,
    height: usize,
    components: Vec<Component>,
}

#[derive(Clone, Copy, Default)]
struct Component {
    id: u8,
    /// Blocks in a unit of interleaved scans, side by side and over one another.
    across: usize,
    down: usize,
}

/// Codes by their length: for each the first code, how many there are, and where their symbols begin.
#[derive(Clone, Default)]
struct Huffman {
    lengths: [(u32, u32, usize); 16],
    symbols: Vec<u8>,
    /// By the next 8 bits: the length of a code that they begin with, and its symbol; 0 for longer codes.
    short: Vec<(u8, u8)>,
}

impl Huffman {
    /// The table of so many codes of each length, with their symbols in order.
    fn new(counts: &[u8; 16], symbols: &[u8]) -> Self {
        let mut table = Self { lengths: Default::default(), symbols: symbols.to_vec(), short: vec![(0, 0); 256] };
        let (mut code, mut start) = (0_u32, 0_usize);
        for (i, (length, &count)) in table.lengths.iter_mut().zip(counts).enumerate() {
            *length = (code, count.into(), start);
            let bits = 7_u32.checked_sub(i as u32);
            for (index, &symbol) in symbols.iter().skip(start).take(count.into()).enumerate() {
                if let Some(bits) = bits {
                    let first = (code as usize + index) << bits;
                    let places = table.short.get_mut(first..first + (1 << bits));
                    places.into_iter().flatten().for_each(|place| *place = (i as u8 + 1, symbol));
                }
            }
            code = (code + u32::from(count)) << 1;
            start += usize::from(count);
        }
        table
    }
}

/// The reason why a file is not whole.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    Walk { bytes, at: 2, frame: Frame::default(), dc: Default::default(), ac: Default::default(), restart: 0 }.run()
}

const CUT: &str = "is cut off: the end of the image is missing";
const TORN: &str = "is damaged: a part of the image is missing";

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    frame: Frame,
    dc: [Huffman; 4],
    ac: [Huffman; 4],
    /// Units between restart markers; 0 for none.
    restart: usize,
}

impl Walk<'_> {
    fn run(&mut self) -> Result<(), String> {
        let mut scans = 0;
        loop {
            match self.marker()? {
                0xd9 if scans > 0 => return Ok(()),
                0xd9 => return Err("is damaged: it holds no image".into()),
                // Markers without a length.
                0x01 | 0xd0..=0xd8 => {}
                0xda => {
                    let header = self.segment()?;
                    self.scan(header)?;
                    scans += 1;
                }
                marker => {
                    let segment = self.segment()?;
                    self.table(marker, segment)?;
                }
            }
        }
    }

    /// The next marker; what lies before it belongs to none.
    fn marker(&mut self) -> Result<u8, String> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let skip = rest.iter().position(|&byte| byte == 0xff).ok_or(CUT)?;
            let fill = rest[skip..].iter().position(|&byte| byte != 0xff).ok_or(CUT)?;
            self.at += skip + fill + 1;
            match rest[skip + fill] {
                0 => {}
                marker => return Ok(marker),
            }
        }
    }

    /// The content of a segment, after its length.
    fn segment(&mut self) -> Result<std::ops::Range<usize>, String> {
        let length = self.bytes.get(self.at..self.at + 2).ok_or(CUT)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let range = self.at + 2..self.at + length.max(2);
        self.at = range.end;
        self.bytes.get(range.clone()).ok_or(CUT)?;
        Ok(range)
    }

    /// Keeps what scans need.
    fn table(&mut self, marker: u8, segment: std::ops::Range<usize>) -> Result<(), String> {
        let content = &self.bytes[segment];
        match (marker, content) {
            (0xc4, content) => self.huffman(content),
            (0xdd, [high, low, ..]) => {
                self.restart = usize::from(u16::from_be_bytes([*high, *low]));
                Ok(())
            }
            (0xc0..=0xcf, [_, h1, h0, w1, w0, count, components @ ..]) if !matches!(marker, 0xc8 | 0xcc) => {
                let component =
                    |c: &[u8; 3]| Component { id: c[0], across: (c[1] >> 4).into(), down: (c[1] & 15).into() };
                self.frame = Frame {
                    is_progressive: marker == 0xc2,
                    is_walked: matches!(marker, 0xc0..=0xc2),
                    width: usize::from(u16::from_be_bytes([*w1, *w0])),
                    height: usize::from(u16::from_be_bytes([*h1, *h0])),
                    components: components.as_chunks::<3>().0.iter().take((*count).into()).map(component).collect(),
                };
                let sizes = self.frame.components.iter();
                // A height of 0 comes after the first scan, which hardly anything writes or reads.
                let is_known = self.frame.height > 0 && self.frame.width > 0;
                self.frame.is_walked &=
                    is_known && sizes.clone().all(|c| (1..=4).contains(&c.across) && (1..=4).contains(&c.down));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn huffman(&mut self, mut content: &[u8]) -> Result<(), String> {
        while let [place, rest @ ..] = content {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(TORN)?;
            let total = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, rest) = rest.split_at_checked(total).ok_or(TORN)?;
            let tables = if place >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            *tables.get_mut(usize::from(place & 15)).ok_or(TORN)? = Huffman::new(counts, symbols);
            content = rest;
        }
        Ok(())
    }

    /// The codes of a scan, and the place after them.
    fn scan(&mut self, header: std::ops::Range<usize>) -> Result<(), String> {
        let header = &self.bytes[header];
        let [count, rest @ ..] = header else { return Err(TORN.into()) };
        let (selectors, rest) = rest.split_at_checked(2 * usize::from(*count)).ok_or(TORN)?;
        let [start, end, approximation, ..] = *rest else { return Err(TORN.into()) };
        if !self.frame.is_walked {
            return self.skip_scan();
        }
        let find = |[id, tables]: &[u8; 2]| {
            let component = self.frame.components.iter().find(|component| component.id == *id)?;
            Some((*component, usize::from(tables >> 4), usize::from(tables & 15)))
        };
        let chosen: Option<Vec<_>> = selectors.as_chunks::<2>().0.iter().map(find).collect();
        let chosen = chosen.filter(|chosen| !chosen.is_empty()).ok_or(TORN)?;
        let most = |edge: fn(&Component) -> usize| self.frame.components.iter().map(edge).max().unwrap_or(1);
        let (across, down) = (most(|c| c.across), most(|c| c.down));
        let (width, height) = (self.frame.width, self.frame.height);
        // Blocks of one component alone are those that it has; in interleaved units it may have some more at the edges.
        let (units, blocks) = match chosen[..] {
            [(one, ..)] => {
                let columns = (width * one.across).div_ceil(8 * across);
                (columns * (height * one.down).div_ceil(8 * down), vec![1])
            }
            _ => {
                let columns = width.div_ceil(8 * across);
                let blocks = chosen.iter().map(|(component, ..)| component.across * component.down).collect();
                (columns * height.div_ceil(8 * down), blocks)
            }
        };
        let parts: Vec<(usize, &Huffman, &Huffman)> = iter::zip(&chosen, blocks)
            .map(|((_, dc, ac), blocks)| Some((blocks, self.dc.get(*dc)?, self.ac.get(*ac)?)))
            .collect::<Option<_>>()
            .ok_or(TORN)?;
        let kind = match self.frame.is_progressive {
            false => Kind::Baseline,
            true if start == 0 && approximation >> 4 == 0 => Kind::FirstDc,
            true if start == 0 => Kind::RefineDc,
            true if approximation >> 4 == 0 => Kind::FirstAc { start, end },
            // What is refined depends on the values of earlier scans, so that its blocks are not counted.
            true => return self.skip_scan(),
        };
        let mut bits = Bits { bytes: self.bytes, at: self.at, buffer: 0, count: 0 };
        let (mut run, restart) = (0_u32, self.restart);
        for unit in 0..units {
            if restart > 0 && unit > 0 && unit % restart == 0 {
                bits.restart()?;
                run = 0;
            }
            for &(blocks, dc, ac) in &parts {
                for _ in 0..blocks {
                    kind.block(&mut bits, dc, ac, &mut run)?;
                }
            }
        }
        self.at = bits.end()?;
        Ok(())
    }

    /// The place after the codes of a scan, by its bytes alone.
    fn skip_scan(&mut self) -> Result<(), String> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let skip = rest.iter().position(|&byte| byte == 0xff).ok_or(CUT)?;
            match rest.get(skip + 1) {
                None => return Err(CUT.into()),
                Some(0 | 0xd0..=0xd7) => self.at += skip + 2,
                Some(0xff) => self.at += skip + 1,
                Some(_) => {
                    self.at += skip;
                    return Ok(());
                }
            }
        }
    }
}

/// What the codes of a block are.
#[derive(Clone, Copy)]
enum Kind {
    Baseline,
    FirstDc,
    RefineDc,
    FirstAc { start: u8, end: u8 },
}

impl Kind {
    /// Reads the codes of one block; `run` counts the blocks to come that have none.
    fn block(self, bits: &mut Bits, dc: &Huffman, ac: &Huffman, run: &mut u32) -> Result<(), String> {
        if matches!(self, Self::Baseline | Self::FirstDc) {
            let size = bits.symbol(dc)?;
            bits.skip(size)?;
        }
        let (mut k, end) = match self {
            Self::Baseline => (1, 63),
            Self::FirstAc { start, end } => (start, end.min(63)),
            Self::FirstDc => return Ok(()),
            Self::RefineDc => return bits.skip(1),
        };
        if *run > 0 {
            *run -= 1;
            return Ok(());
        }
        while k <= end {
            let symbol = bits.symbol(ac)?;
            match (symbol >> 4, symbol & 15) {
                (15, 0) => k += 16,
                (0, 0) => return Ok(()),
                (length, 0) => {
                    *run = (1 << length) - 1 + bits.take(length)?;
                    return Ok(());
                }
                (zeros, size) => {
                    bits.skip(size)?;
                    k += zeros + 1;
                }
            }
        }
        Ok(())
    }
}

/// The bits of a scan.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    buffer: u32,
    count: u8,
}

impl Bits<'_> {
    /// One more byte of codes; an error where a marker or the end of the file comes instead.
    fn fill(&mut self) -> Result<(), String> {
        let byte = *self.bytes.get(self.at).ok_or(CUT)?;
        if byte == 0xff {
            match self.bytes.get(self.at + 1) {
                Some(0) => self.at += 1,
                Some(_) => return Err(TORN.into()),
                None => return Err(CUT.into()),
            }
        }
        self.at += 1;
        self.buffer = self.buffer << 8 | u32::from(byte);
        self.count += 8;
        Ok(())
    }

    fn take(&mut self, count: u8) -> Result<u32, String> {
        while self.count < count {
            self.fill()?;
        }
        self.count -= count;
        Ok(self.buffer >> self.count & ((1 << count) - 1))
    }

    fn skip(&mut self, count: u8) -> Result<(), String> {
        self.take(count.min(16)).map(drop)
    }

    fn symbol(&mut self, table: &Huffman) -> Result<u8, String> {
        while self.count < 8 && self.fill().is_ok() {}
        if let Some(ahead) = self.count.checked_sub(8) {
            let next = (self.buffer >> ahead & 255) as usize;
            if let Some(&(length @ 1.., symbol)) = table.short.get(next) {
                self.count -= length;
                return Ok(symbol);
            }
        }
        let mut code = 0;
        for &(first, count, start) in &table.lengths {
            code = code << 1 | self.take(1)?;
            if let Some(index) = code.checked_sub(first).filter(|&index| index < count) {
                return table.symbols.get(start + index as usize).copied().ok_or_else(|| TORN.into());
            }
        }
        Err(TORN.into())
    }

    /// Past a restart marker, which must come next.
    fn restart(&mut self) -> Result<(), String> {
        let at = self.end()?;
        match self.bytes.get(at + 1) {
            Some(0xd0..=0xd7) => {
                (self.at, self.buffer, self.count) = (at + 2, 0, 0);
                Ok(())
            }
            _ => Err(TORN.into()),
        }
    }

    /// Where the next marker begins, which must come after less than a byte of padding. Some cameras write two bytes
    /// more.
    fn end(&self) -> Result<usize, String> {
        const SLACK: usize = 4;
        let mut at = self.at;
        loop {
            match self.bytes.get(at..) {
                Some([0xff, 0xff, ..]) => at += 1,
                Some([0xff, 0, ..]) if at < self.at + SLACK => at += 2,
                Some([0xff, marker, ..]) if *marker != 0 => return Ok(at),
                Some([_, _, ..]) if at < self.at + SLACK => at += 1,
                Some([_, _, ..]) => return Err(TORN.into()),
                _ => return Err(CUT.into()),
            }
        }
    }
}

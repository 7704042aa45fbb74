//! Processes that MPI has started.

use std::fmt;
use std::sync::Arc;

use mpi::Threading;
use mpi::datatype::PartitionMut;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives};

use super::ProcessGroup;

/// Most values that are added up at once: the memory that this takes beside them stays small.
const BUCKET: usize = 1 << 22;

/// All processes of the job.
pub struct Mpi {
    rank: usize,
    size: usize,
    /// Finalizes MPI when it is dropped.
    _universe: Universe,
}

impl Mpi {
    /// Joins the job, once in a process; `None` where it is of one process.
    pub fn join() -> Option<Arc<dyn ProcessGroup>> {
        // One thread calls at a time, which need not be the main one.
        let (universe, _) = mpi::initialize_with_threading(Threading::Serialized)?;
        let world = universe.world();
        let (rank, size) = (world.rank() as usize, world.size() as usize);
        (size > 1).then(|| Arc::new(Self { rank, size, _universe: universe }) as Arc<dyn ProcessGroup>)
    }
}

impl ProcessGroup for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    /// Each process adds up one share of the values, and tells the others the sums: as many bytes as MPI's own
    /// reductions, whose order of summation no standard settles.
    fn all_reduce(&self, values: &mut [f32]) {
        let world = SimpleCommunicator::world();
        for bucket in values.chunks_mut(BUCKET) {
            let share = bucket.len().div_ceil(self.size);
            let mut padded = bucket.to_vec();
            padded.resize(share * self.size, 0.0);
            let mut parts = vec![0.0_f32; padded.len()];
            world.all_to_all_into(&padded[..], &mut parts[..]);
            let (sums, others) = parts.split_at_mut(share);
            for other in others.chunks_exact(share) {
                sums.iter_mut().zip(other).for_each(|(sum, value)| *sum += value);
            }
            world.all_gather_into(&*sums, &mut padded[..]);
            bucket.copy_from_slice(&padded[..bucket.len()]);
        }
    }

    fn all_gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let world = SimpleCommunicator::world();
        let mut counts = vec![0_i32; self.size];
        world.all_gather_into(&(bytes.len() as i32), &mut counts[..]);
        if counts.iter().all(|&count| count == 0) {
            // Which Open MPI takes for an error.
            return vec![Vec::new(); self.size];
        }
        let starts: Vec<i32> = (0..self.size).map(|rank| counts[..rank].iter().sum()).collect();
        let mut all = vec![0_u8; counts.iter().sum::<i32>() as usize];
        world.all_gather_varcount_into(bytes, &mut PartitionMut::new(&mut all[..], &counts[..], &starts[..]));
        let place = |rank: usize| starts[rank] as usize..(starts[rank] + counts[rank]) as usize;
        (0..self.size).map(|rank| all[place(rank)].to_vec()).collect()
    }

    fn abort(&self) -> ! {
        SimpleCommunicator::world().abort(1)
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        // The others may wait for this process for ever, and MPI would wait for them.
        if std::thread::panicking() {
            self.abort();
        }
    }
}

impl fmt::Debug for Mpi {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "rank {} of {}", self.rank, self.size)
    }
}

//! Exactly once: a month's files, its record in the ledger, and nothing else, wherever a crash came.
//!
//! One ledger transaction stores all that a revision is made from, and its digest, as pending; then
//! its folder appears; then it is published. Until that transaction there is nothing; from then on
//! whoever comes next makes the same bytes from what is stored.

use std::{panic, thread};

use fail::fail_point;

use super::{CloseError, Closer, FIRST};
use crate::ledger::{LedgerError, RevisionRow};
use crate::period::Month;
use crate::poll::describe;
use crate::report::{Folder, Frozen, Outcome, Prepared, Published, ReportError, Turn};

impl Closer {
    /// Brings a month that was begun to its end. If a report has to be imported, the clocks are compared
    /// first.
    pub(super) async fn settle_or_import(&self, month: Month) -> Result<Option<Outcome>, CloseError> {
        let is_unknown = self.blocking(move |closer| {
            let recorded = closer.row(month)?.map(|row| row.revision);
            // An error is reported by what follows.
            Ok(closer.reports().newest_number(month).is_ok_and(|newest| newest > recorded))
        });
        if is_unknown.await? {
            self.check_clock().await;
        }
        self.blocking(move |closer| closer.settle(month)).await
    }

    /// Brings a month that was begun to its end, from whatever is there; `None` if nothing is.
    /// Needs nothing from the API. Blocks.
    pub(super) fn settle(&self, month: Month) -> Result<Option<Outcome>, CloseError> {
        let folder = self.folder()?;
        let mut problem = None;
        if let Some(row) = self.row(month)?
            && row.published
            && folder.newest_number(month)? == Some(row.revision)
        {
            match there(&folder, month, &row) {
                Ok(Some(published)) => return Ok(Some(Outcome::Already(published))),
                found => problem = found.err(),
            }
        }
        // What is wrong with it is said, or mended, in turn.
        let turn = in_turn(&folder, problem)?;
        self.settle_in_turn(&folder, &turn, month)
    }

    /// Looks at every revision of a month, the oldest first, since a newer one is made from the one
    /// that it replaced; what is wrong with each. Blocks.
    pub(super) fn settle_all(&self, month: Month) -> Vec<CloseError> {
        let newest = match self.newest(month) {
            Ok(newest) => newest,
            Err(error) => return vec![error],
        };
        let replaced = (FIRST..newest).map(|number| self.settle_replaced(month, number));
        let mut wrong: Vec<_> = replaced.filter_map(Result::err).collect();
        wrong.extend(self.settle(month).err());
        wrong
    }

    /// The newest revision that the ledger or the folder knows.
    fn newest(&self, month: Month) -> Result<u32, CloseError> {
        let recorded = self.row(month)?.map(|row| row.revision);
        Ok(recorded.max(self.reports().newest_number(month)?).unwrap_or(FIRST))
    }

    /// A revision that a newer one replaced: it is what was signed once.
    fn settle_replaced(&self, month: Month, number: u32) -> Result<(), CloseError> {
        let folder = self.folder()?;
        let Some(row) = self.ledger.revision_at(self.tenant(), month, number)? else {
            // The ledger began after it: its own list of checksums is all there is.
            return Ok(folder.revision(month, number)?.map_or(Ok(()), |published| published.verify())?);
        };
        match there(&folder, month, &row) {
            Ok(Some(_)) => Ok(()),
            found => {
                let turn = in_turn(&folder, found.err())?;
                self.complete(&folder, &turn, month, &row).map(drop)
            }
        }
    }

    /// Makes sure that a revision is the recorded one, if one is recorded; nothing is mended. Blocks.
    pub(super) fn confirm(&self, published: &Published) -> Result<(), CloseError> {
        let (month, revision) = (published.month, published.revision);
        let row = match self.ledger.revision_at(self.tenant(), month, revision) {
            Err(LedgerError::Missing(_)) => None,
            row => row?,
        };
        if row.is_some_and(|row| row.digest != published.digest) {
            return Err(not_recorded(&self.reports(), month, revision, "its SHA256SUMS is another"));
        }
        Ok(published.verify()?)
    }

    fn settle_in_turn(
        &self,
        folder: &Folder,
        turn: &Turn<'_>,
        month: Month,
    ) -> Result<Option<Outcome>, CloseError> {
        let row = self.row(month)?;
        let known = row.as_ref().map_or(0, |row| row.revision);
        if folder.newest_number(month)? > Some(known)
            && let Some(newer) = folder.current(month)?
        {
            return self.adopt(newer).map(Some);
        }
        row.map(|row| self.complete(folder, turn, month, &row)).transpose()
    }

    /// Takes over a report that was closed before this ledger existed, or since it was backed up.
    fn adopt(&self, published: Published) -> Result<Outcome, CloseError> {
        published.verify()?;
        let Some(closed_at) = self.now_for_import() else {
            tracing::warn!(tenant = self.tenant(), month = %published.month, revision = published.revision, "a closed month is not imported into the ledger before the local clock agrees with the API's, or 24 h have passed without a jump of an unverified clock");
            return Ok(Outcome::Already(published));
        };
        let row = RevisionRow {
            revision: published.revision,
            published: true,
            digest: published.digest.clone(),
            closed_at,
            inputs: None,
        };
        self.ledger.record_revision(self.tenant(), published.month, row)?;
        tracing::info!(tenant = self.tenant(), month = %published.month, revision = published.revision, "a closed month is taken into the ledger");
        Ok(Outcome::Already(published))
    }

    /// Makes sure that the files of a recorded revision are there and are the recorded ones.
    fn complete(
        &self,
        folder: &Folder,
        turn: &Turn<'_>,
        month: Month,
        row: &RevisionRow,
    ) -> Result<Outcome, CloseError> {
        let outcome = match there(folder, month, row) {
            Ok(Some(there)) => Outcome::Already(there),
            Ok(None) => self.remake(folder, turn, month, row)?,
            Err(CloseError::Report(problem @ ReportError::NotRecorded { .. })) => return Err(problem.into()),
            Err(problem) => self.mend(folder, turn, month, row, problem)?,
        };
        if row.published {
            return Ok(Outcome::Already(outcome.published().clone()));
        }
        self.ledger.published(self.tenant(), month, row.revision)?;
        Ok(Outcome::Written(outcome.published().clone()))
    }

    /// Makes the files of a recorded revision again from what the ledger keeps.
    fn remake(
        &self,
        folder: &Folder,
        turn: &Turn<'_>,
        month: Month,
        row: &RevisionRow,
    ) -> Result<Outcome, CloseError> {
        let not_recorded = |problem| not_recorded(folder, month, row.revision, problem);
        let Some(prepared) = self.again(folder, turn, row)? else {
            return Err(not_recorded("it is gone, and the ledger does not have what it was made from"));
        };
        if prepared.digest != row.digest {
            if row.published {
                return Err(not_recorded("it is gone, and what was made anew has other checksums"));
            }
            self.ledger.remade(self.tenant(), month, row.revision, &prepared.digest)?;
        }
        tracing::warn!(tenant = self.tenant(), %month, revision = row.revision, "a recorded month has no files; they are made from what the ledger keeps");
        Ok(turn.publish(prepared)?)
    }

    /// Makes the files again that a recorded revision has lost. Those that are there stay as they
    /// are; if one is not what it was, nothing is made. `problem` is what is wrong.
    fn mend(
        &self,
        folder: &Folder,
        turn: &Turn<'_>,
        month: Month,
        row: &RevisionRow,
        problem: CloseError,
    ) -> Result<Outcome, CloseError> {
        match self.again(folder, turn, row) {
            Ok(Some(prepared)) if prepared.digest == row.digest => {
                let published = turn.restore(prepared)?;
                tracing::warn!(tenant = self.tenant(), %month, revision = row.revision, %problem, "a closed month had lost files; they are made again from what the ledger keeps");
                Ok(Outcome::Already(published))
            }
            Err(error) => {
                tracing::warn!(tenant = self.tenant(), %month, error = describe(&error), "lost files cannot be made again");
                Err(problem)
            }
            Ok(_) => Err(problem),
        }
    }

    /// Writes the files of a recorded revision again, under a temporary name; `None` if the ledger
    /// does not have what it was made from.
    fn again(
        &self,
        folder: &Folder,
        turn: &Turn<'_>,
        row: &RevisionRow,
    ) -> Result<Option<Prepared>, CloseError> {
        let Some(packed) = &row.inputs else { return Ok(None) };
        let frozen = Frozen::unpack(packed).map_err(CloseError::Inputs)?;
        let previous = self.superseded(folder, turn, &frozen)?;
        Ok(Some(turn.prepare(&frozen.inputs(), row.revision, previous.as_ref())?))
    }

    /// The revision that `frozen` replaces; made again if it is gone, or has lost files.
    fn superseded(
        &self,
        folder: &Folder,
        turn: &Turn<'_>,
        frozen: &Frozen,
    ) -> Result<Option<Published>, CloseError> {
        let Some(supersedes) = &frozen.header.supersedes else { return Ok(None) };
        let (month, revision) = (frozen.header.month, supersedes.revision);
        if let Some(row) = self.ledger.revision_at(self.tenant(), month, revision)? {
            return Ok(Some(self.complete(folder, turn, month, &row)?.published().clone()));
        }
        match folder.revision(month, revision)? {
            Some(published) => Ok(Some(published)),
            None => Err(ReportError::NotClosed(month).into()),
        }
    }

    /// Writes a new revision made from `frozen`, unless another process was quicker. Blocks.
    pub(super) fn record(&self, revision: u32, frozen: &Frozen) -> Result<Outcome, CloseError> {
        let month = frozen.header.month;
        let folder = self.folder()?;
        let turn = folder.turn()?;
        let settled = self.settle_in_turn(&folder, &turn, month)?;
        if let Some(settled) = settled.filter(|settled| settled.published().revision >= revision) {
            return Ok(Outcome::Already(settled.published().clone()));
        }
        fail_point!("close::fetched", |_| std::process::abort());
        let previous = self.superseded(&folder, &turn, frozen)?;
        let (packed, prepared) = thread::scope(|scope| {
            let packed = scope.spawn(|| frozen.pack());
            let prepared = turn.prepare(&frozen.inputs(), revision, previous.as_ref());
            (packed.join().unwrap_or_else(|panic| panic::resume_unwind(panic)), prepared)
        });
        let prepared = prepared?;
        fail_point!("close::prepared", |_| std::process::abort());
        let row = RevisionRow {
            revision,
            published: false,
            digest: prepared.digest.clone(),
            closed_at: self.now_for_record()?,
            inputs: Some(packed.map_err(|error| CloseError::Inputs(error.to_string()))?),
        };
        let digest = row.digest.clone();
        let recorded = self.ledger.record_revision(self.tenant(), month, row)?;
        fail_point!("close::pending", |_| std::process::abort());
        if recorded.digest != digest {
            // A process that does not share our folder's lock recorded the month first: its word holds.
            drop(prepared);
            return self.complete(&folder, &turn, month, &recorded);
        }
        let outcome = turn.publish(prepared)?;
        fail_point!("close::in_place", |_| std::process::abort());
        let published = outcome.published();
        if published.digest != digest {
            return Err(not_recorded(&folder, month, revision, "another process wrote it"));
        }
        self.ledger.published(self.tenant(), month, revision)?;
        fail_point!("close::published", |_| std::process::abort());
        drop(turn);
        if revision > FIRST {
            // The index lists open differences; this revision ended the month's.
            self.folder()?;
        }
        Ok(outcome)
    }

    fn row(&self, month: Month) -> Result<Option<RevisionRow>, CloseError> {
        Ok(self.ledger.revision(self.tenant(), month)?)
    }
}

/// A recorded revision as it is on disk, if it is the recorded one to the last byte of every file;
/// `None` if it is not there.
fn there(folder: &Folder, month: Month, row: &RevisionRow) -> Result<Option<Published>, CloseError> {
    let Some(published) = folder.revision(month, row.revision)? else { return Ok(None) };
    if published.digest != row.digest {
        return Err(not_recorded(folder, month, row.revision, "its SHA256SUMS is another"));
    }
    published.verify()?;
    Ok(Some(published))
}

/// The turn to write; where it does not come, as in a folder that can only be read, what is wrong says
/// more than that.
fn in_turn(folder: &Folder, problem: Option<CloseError>) -> Result<Turn<'_>, CloseError> {
    folder.turn().map_err(|error| problem.unwrap_or_else(|| error.into()))
}

/// A revision whose files are not, or cannot be made, what the ledger recorded.
fn not_recorded(folder: &Folder, month: Month, revision: u32, problem: &'static str) -> CloseError {
    ReportError::NotRecorded { path: folder.of_revision(month, revision), problem }.into()
}

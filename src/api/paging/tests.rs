//! The algorithm against servers that page in every way they may.

use std::cell::{Cell, RefCell};

use super::*;

/// The rows of a whole list.
async fn rows<T, Answer: Future<Output = Result<Vec<T>, Error>>>(
    endpoint: Endpoint,
    ask: usize,
    window: usize,
    key: fn(&T) -> &Text,
    fetch: impl Fn(Range) -> Answer,
) -> Result<Vec<T>, Error> {
    let mut list = List::new(key);
    read_all(endpoint, ask, window, &mut list, fetch).await?;
    Ok(list.into_rows())
}

/// A server with `total` rows, whose habits the fields tell.
#[derive(Clone, Copy, Debug)]
struct Habits {
    total: usize,
    /// Rows that it gives at most.
    clamp: usize,
    /// Whether it gives everything, whatever is asked.
    ignores: bool,
    /// What it answers behind the end, instead of an empty page.
    past_end: Option<u16>,
    /// How many rows each page repeats of the one before.
    repeats: usize,
}

struct Server {
    habits: Habits,
    asked: RefCell<Vec<Range>>,
    in_flight: Cell<usize>,
    most_in_flight: Cell<usize>,
}

impl Server {
    fn new(habits: Habits) -> Self {
        Self { habits, asked: RefCell::default(), in_flight: Cell::new(0), most_in_flight: Cell::new(0) }
    }

    async fn answer(&self, range: Range) -> Result<Vec<Text>, Error> {
        self.asked.borrow_mut().push(range);
        self.in_flight.set(self.in_flight.get() + 1);
        self.most_in_flight.set(self.most_in_flight.get().max(self.in_flight.get()));
        tokio::task::yield_now().await;
        self.in_flight.set(self.in_flight.get() - 1);
        let Habits { total, clamp, ignores, past_end, repeats } = self.habits;
        let (start, end) = if ignores {
            (0, total)
        } else {
            (range.start.min(total), (range.start + range.results.min(clamp)).min(total))
        };
        if let (Some(status), true) = (past_end, start == end && range.start > 0) {
            return Err(Error::new(Endpoint::Vms, Reason::Client).status(Some(status)));
        }
        let shift = if start > 0 && end < total { repeats } else { 0 };
        Ok((start - shift..end - shift).map(|row| row.to_string().into()).collect())
    }

    async fn read(&self, ask: usize) -> Result<Vec<Text>, Error> {
        rows(Endpoint::Vms, ask, 8, |row: &Text| row, |range| self.answer(range)).await
    }
}

const PLAIN: Habits = Habits { total: 0, clamp: usize::MAX, ignores: false, past_end: None, repeats: 0 };

#[tokio::test]
async fn every_row_once_from_servers_that_clamp_in_any_way() {
    for clamp in [25, 26, 50, 99, 100, 1000] {
        for total in [0, 1, 24, 25, 26, 49, 50, 51, 75, 99, 100, 101, 125, 199, 200, 250, 1000, 2500] {
            for past_end in [None, Some(400), Some(404), Some(416), Some(422)] {
                for ask in [1, 10, 25, 100, 500] {
                    let habits = Habits { total, clamp, past_end, ..PLAIN };
                    let server = Server::new(habits);
                    let rows = server.read(ask).await.unwrap_or_else(|e| panic!("{habits:?} {ask}: {e}"));
                    let expected: Vec<Text> = (0..total).map(|row| row.to_string().into()).collect();
                    assert_eq!(rows, expected, "{habits:?}, asked for {ask}");
                    let asked = server.asked.borrow().len();
                    assert!(asked <= total / ask.min(clamp) + 8 + 3, "{habits:?}, {ask}: {asked} requests");
                    assert!(server.most_in_flight.get() <= 8);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_ignores_the_range_gives_the_whole_list() {
    for total in [0, 1, 24, 25, 26, 99, 100, 101, 5000] {
        let server = Server::new(Habits { total, ignores: true, ..PLAIN });
        assert_eq!(server.read(100).await.unwrap().len(), total, "{total}");
        assert!(server.asked.borrow().len() <= 3, "{total}");
    }
}

#[tokio::test]
async fn pages_are_read_ahead_only_once_the_range_is_known_to_be_honoured() {
    let server = Server::new(Habits { total: 90, ..PLAIN });
    server.read(100).await.unwrap();
    assert_eq!(*server.asked.borrow(), [0, 90].map(|start| Range { start, results: 100 }));
    assert_eq!(server.most_in_flight.get(), 1);

    let server = Server::new(Habits { total: 10_000, ..PLAIN });
    server.read(100).await.unwrap();
    assert_eq!(server.asked.borrow()[..2], [0, 100].map(|start| Range { start, results: 100 }));
    assert_eq!(server.most_in_flight.get(), 8);
}

#[tokio::test]
async fn rows_that_shift_between_pages_are_taken_once() {
    // Each page begins a little before the end of the last one: some rows come twice.
    let server = Server::new(Habits { total: 1000, repeats: 7, ..PLAIN });
    let rows = server.read(100).await.unwrap();
    assert_eq!(rows.len(), rows.iter().collect::<std::collections::HashSet<_>>().len());
}

#[tokio::test]
async fn the_last_reading_of_a_row_wins() {
    let key: fn(&(Text, usize)) -> &Text = |row| &row.0;
    let rows = rows(Endpoint::Vms, 25, 8, key, |range| async move {
        let ids = if range.start == 0 { 0..25 } else { 20..30 };
        Ok(ids.map(|id: u32| (Text::from(id.to_string()), range.start)).collect())
    })
    .await
    .unwrap();
    assert_eq!(rows.len(), 30);
    assert!(rows[..20].iter().all(|row| row.1 == 0) && rows[20..].iter().all(|row| row.1 == 25));
}

#[tokio::test]
async fn the_same_page_for_ever_is_an_error() {
    let requests = Cell::new(0);
    let error = rows(
        Endpoint::Vms,
        100,
        8,
        |row: &Text| row,
        |range| {
            requests.set(requests.get() + 1);
            async move { Ok((0..range.results.min(50)).map(|row| Text::from(row.to_string())).collect()) }
        },
    )
    .await
    .unwrap_err();
    assert_eq!(error.reason, Reason::Paging);
    assert_eq!(error.to_string(), "vms: paging: the rows from 50 on are all known already");
    assert_eq!(requests.get(), 3);
}

#[tokio::test]
async fn a_list_without_end_is_an_error() {
    let error = rows(
        Endpoint::Vms,
        25,
        8,
        |row: &Text| row,
        |range| async move {
            Ok((range.start..range.start + 25).map(|row| Text::from(row.to_string())).collect())
        },
    )
    .await
    .unwrap_err();
    assert_eq!(error.to_string(), "vms: too_large: the list has more than 20000 pages");
}

#[tokio::test]
async fn a_refusal_within_the_list_is_never_taken_for_its_end() {
    // The server has a thousand rows, but refuses to begin behind the two hundredth.
    let server = Server::new(Habits { total: 1000, ..PLAIN });
    let limited = |range: Range| {
        let server = &server;
        async move {
            if range.start >= 200 {
                return Err(Error::new(Endpoint::Vms, Reason::Client).status(Some(422)));
            }
            server.answer(range).await
        }
    };
    let error = rows(Endpoint::Vms, 100, 8, |row: &Text| row, limited).await.unwrap_err();
    assert_eq!(error.reason, Reason::Paging);

    // A cloud that vanishes while it is read is not found, neither whole nor in part.
    let vanishes = |range: Range| {
        let (server, gone) = (&server, server.asked.borrow().len() >= 2);
        async move {
            if gone {
                return Err(Error::new(Endpoint::Vms, Reason::NotFound).status(Some(404)));
            }
            server.answer(range).await
        }
    };
    server.asked.borrow_mut().clear();
    let error = rows(Endpoint::Vms, 100, 8, |row: &Text| row, vanishes).await.unwrap_err();
    assert_eq!(error.reason, Reason::NotFound);
}

#[tokio::test]
async fn a_failed_page_fails_the_list() {
    for failing in [0, 100, 200, 700] {
        let server = Server::new(Habits { total: 1000, ..PLAIN });
        let fetch = |range: Range| {
            let server = &server;
            async move {
                if range.start == failing {
                    return Err(Error::new(Endpoint::Vms, Reason::Server).status(Some(500)));
                }
                server.answer(range).await
            }
        };
        let error = rows(Endpoint::Vms, 100, 8, |row: &Text| row, fetch).await.unwrap_err();
        assert_eq!(error.reason, Reason::Server, "{failing}");
    }
}

/// A page with the full number of rows is not the last page, even if one of its rows is unreadable.
#[tokio::test]
async fn unreadable_rows_count_as_rows_of_the_page() {
    let mut list = List::new(|row: &Text| row);
    let fetch = |range: Range| async move {
        let rows = range.start..(range.start + range.results.min(25)).min(60);
        Ok(rows.map(|row| (row % 10 != 3).then(|| Text::from(row.to_string()))).collect::<Vec<_>>())
    };
    read_all(Endpoint::InstanceTypes, 100, 1, &mut list, fetch).await.unwrap();
    let expected: Vec<Text> = (0..60).filter(|row| row % 10 != 3).map(|row| row.to_string().into()).collect();
    assert_eq!(list.into_rows(), expected);
}

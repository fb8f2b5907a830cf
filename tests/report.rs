//! A month's report as files: what they say, to the byte, and how they appear.

#[path = "report/files.rs"]
mod files;
#[path = "report/folder.rs"]
mod folder;
#[path = "report/month.rs"]
mod month;

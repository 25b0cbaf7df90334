mod bench;
mod pair;
mod rules;
mod sessions;

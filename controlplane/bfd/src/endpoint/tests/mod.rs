mod pair;
mod rules;

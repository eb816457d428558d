import fc from 'fast-check';

// Loaded before the tests of a mutant: whether it survives must not hang on the dice of a property test.
fc.configureGlobal({ seed: 1 });

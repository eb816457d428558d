import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { locateKeys } from './locate-keys.ts';

const TOML = `top = 1
[server] # comment [not.a.table]
bind_addr = "a = b # no comment"
list = [
  "x", # fake = 1
  '[table]',
]
text = """
fake = 2
[fake]
"""
after = 'c:\\'
[auth.basic]
"quoted key" = 1
scopes = { ci = ["a"], "d e" = [] }
a.b = 3`;

describe('locateKeys', () => {
  it('keys, among comments, strings, arrays and inline tables, get their own lines', () => {
    assert.deepEqual(Object.fromEntries(locateKeys(TOML)), {
      top: 1,
      server: 2,
      'server.bind_addr': 3,
      'server.list': 4,
      'server.text': 8,
      'server.after': 12,
      'auth.basic': 13,
      'auth.basic.quoted key': 14,
      'auth.basic.scopes': 15,
      'auth.basic.scopes.ci': 15,
      'auth.basic.scopes.d e': 15,
      'auth.basic.a.b': 16,
    });
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { sendsToStore } from './redirect.ts';

function presign(origin: string, isForClients = false) {
  return { origin, isForClients, address: () => Promise.resolve(origin) };
}

describe('sendsToStore', () => {
  const guesses: readonly (readonly [origin: string, baseUrl: string, sends: boolean])[] = [
    ['https://s3.eu-central-1.amazonaws.com', 'https://registry.example.com', true],
    ['https://s3.example.com:9000', 'http://registry', true],
    ['https://203.0.113.9', 'https://registry.example.com', true],
    ['https://[2001:db8::1]:9000', 'https://registry.example.com', true],
    ['http://s3.example.com', 'http://registry.example.com', true],
    ['http://s3.example.com', 'https://registry.example.com', false],
    ['http://minio:9000', 'http://registry.example.com', false],
    ['http://localhost:9000', 'http://localhost:5000', false],
    ['http://127.0.0.1:9000', 'http://127.0.0.1:5000', false],
    ['http://[::1]:9000', 'http://[::1]:5000', false],
    ['https://10.1.2.3', 'https://registry.example.com', false],
    ['https://172.31.255.1', 'https://registry.example.com', false],
    ['https://172.32.0.1', 'https://registry.example.com', true],
    ['https://192.168.1.4', 'https://registry.example.com', false],
    ['https://169.254.1.1', 'https://registry.example.com', false],
    ['https://[fd00::1]', 'https://registry.example.com', false],
    ['https://minio.storage.svc.cluster.local', 'https://registry.example.com', false],
    ['https://minio.storage.svc', 'https://registry.example.com', false],
    ['https://nas.local', 'https://registry.example.com', false],
    ['https://s3.corp.internal', 'https://registry.example.com', false],
  ];
  for (const [origin, baseUrl, sends] of guesses) {
    it(`auto, ${origin} for a client of ${baseUrl}, is ${sends}`, () => {
      assert.equal(sendsToStore('auto', presign(origin), baseUrl), sends);
    });
  }

  it('auto, an endpoint for clients, is believed, save from HTTPS to HTTP', () => {
    assert.equal(sendsToStore('auto', presign('http://minio:9000', true), 'http://registry'), true);
    assert.equal(sendsToStore('auto', presign('http://minio:9000', true), 'https://registry'), false);
  });

  it('on and off, any endpoint, are as said', () => {
    assert.equal(sendsToStore('on', presign('http://127.0.0.1:9000'), 'https://registry'), true);
    assert.equal(sendsToStore('off', presign('https://s3.example.com', true), 'https://registry'), false);
  });
});

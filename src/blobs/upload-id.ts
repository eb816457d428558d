import { randomBytes } from 'node:crypto';
import type { UploadId } from './blob-store.ts';

const UPLOAD_ID_BYTES = 16;
const UPLOAD_ID = /^[0-9a-f]{32}$/;

/** 128 random bits: nobody guesses another's upload. */
export function newUploadId(): UploadId {
  return randomBytes(UPLOAD_ID_BYTES).toString('hex') as UploadId;
}

/** Null for anything that `newUploadId` cannot have made. */
export function parseUploadId(text: string): UploadId | null {
  return UPLOAD_ID.test(text) ? (text as UploadId) : null;
}

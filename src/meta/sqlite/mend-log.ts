import type { FileHandle } from 'node:fs/promises';
import type { CommittedFrames } from './wal-index.ts';

/** sqlite.org/walformat.html, 1.1 and 1.2. */
const HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
const MAGIC_LITTLE_ENDIAN = 0x377f0682;
const MAGIC_BIG_ENDIAN = 0x377f0683;
/** Checksums begin with the first bytes of each header: they stand behind them in the header itself. */
const HEADER_SUMMED_BYTES = 24;
const FRAME_SUMMED_BYTES = 8;
const PAGE_BYTES_MIN = 512;
const PAGE_BYTES_MAX = 65_536;

/**
 * After a sync that failed, the kernel takes the pages that it could not write for clean: the next sync answers success
 * without having written them. So every committed frame is read back, checked against the checksum that the index of the
 * log holds of the last one, and written again where it stands. A sync after this covers them.
 *
 * False: what reads back is not what was committed, so it is lost. Nobody may write to the log meanwhile.
 */
export async function writeLogAgain(file: FileHandle, committed: CommittedFrames): Promise<boolean> {
  if (committed.frames === 0) return true;
  const header = await readExactly(file, 0, HEADER_BYTES);
  if (header === null) return false;
  const magic = header.readUInt32BE(0);
  if (magic !== MAGIC_LITTLE_ENDIAN && magic !== MAGIC_BIG_ENDIAN) return false;
  const pageBytes = header.readUInt32BE(8);
  if (pageBytes < PAGE_BYTES_MIN || pageBytes > PAGE_BYTES_MAX) return false;
  const checksum = new Checksum(magic === MAGIC_BIG_ENDIAN);
  checksum.add(header.subarray(0, HEADER_SUMMED_BYTES));
  await writeExactly(file, header, 0);
  const frameBytes = FRAME_HEADER_BYTES + pageBytes;
  for (let frame = 0; frame < committed.frames; frame += 1) {
    const at = HEADER_BYTES + frame * frameBytes;
    const bytes = await readExactly(file, at, frameBytes);
    if (bytes === null) return false;
    checksum.add(bytes.subarray(0, FRAME_SUMMED_BYTES));
    checksum.add(bytes.subarray(FRAME_HEADER_BYTES));
    if (!checksum.equals(bytes.readUInt32BE(16), bytes.readUInt32BE(20))) return false;
    await writeExactly(file, bytes, at);
  }
  return checksum.equals(...committed.checksum);
}

/** `s0 += x0 + s1; s1 += x1 + s0`, over pairs of 32-bit words (walformat.html, 1.4). */
class Checksum {
  readonly #bigEndian: boolean;
  #first = 0;
  #second = 0;

  constructor(bigEndian: boolean) {
    this.#bigEndian = bigEndian;
  }

  add(bytes: Buffer): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const little = !this.#bigEndian;
    let first = this.#first;
    let second = this.#second;
    for (let at = 0; at < bytes.byteLength; at += 8) {
      first = (first + view.getUint32(at, little) + second) >>> 0;
      second = (second + view.getUint32(at + 4, little) + first) >>> 0;
    }
    this.#first = first;
    this.#second = second;
  }

  equals(first: number, second: number): boolean {
    return this.#first === first && this.#second === second;
  }
}

async function readExactly(file: FileHandle, at: number, length: number): Promise<Buffer | null> {
  const bytes = Buffer.allocUnsafe(length);
  const { bytesRead } = await file.read(bytes, 0, length, at);
  return bytesRead === length ? bytes : null;
}

async function writeExactly(file: FileHandle, bytes: Buffer, at: number): Promise<void> {
  const { bytesWritten } = await file.write(bytes, 0, bytes.length, at);
  if (bytesWritten !== bytes.length) throw new Error('the log of the ledger took only a part of a write');
}

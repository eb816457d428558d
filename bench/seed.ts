import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { BLOBS, locationOf } from '../src/blobs/fs/layout.ts';
import { digestToBytes } from '../src/meta/digest-bytes.ts';
import { openSqliteMetaStore } from '../src/meta/sqlite/sqlite-meta-store.ts';
import { type Digest, digestOf } from '../src/oci/digest.ts';
import { parseManifest } from '../src/oci/manifest.ts';
import { describeReferrer } from '../src/registry/referrers.ts';
import { MANIFEST_TYPE } from './push.ts';

const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json';
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar+gzip';
/** The image-spec's empty blob ("Guidance for an Empty Descriptor"). */
const EMPTY_BYTES = Buffer.from('{}');
const EMPTY = descriptor('application/vnd.oci.empty.v1+json', digestOf('sha256', EMPTY_BYTES), 2);
const LIMITS = { bytesMax: 4 * 1024 * 1024, descriptorsMax: 1000 };
/** What the row of a blob without a file says. */
const BLOB_BYTES = 2048;
const SEEDED_BY = 'seed';
const SEEDED_AT = Date.UTC(2026, 0, 1);
const PAGE_CACHE_KIBIBYTES = 1024 * 1024;
/** `sha256/9f/9f86…`, as the file system driver names it. */
const LOCATION = "'sha256/' || substr(lower(hex(digest)), 3, 2) || '/' || substr(lower(hex(digest)), 3)";

/**
 * Fills the ledger of a data directory that no Drift uses, by the million, past the registry: its own migrations make the
 * tables, its own parser the rows of a manifest. What pushes leave for others (outbox, review queue) is not there, as if it
 * had been worked off. The empty blob, all that artifacts need, is stored; blobs of images and those of `blobs` are rows
 * without a file, of which `drift fsck` tells: only claims that never read them may seed these.
 */
export async function seedLedger(directory: string, fill: (seed: Seed) => void): Promise<void> {
  const file = join(directory, 'drift.db');
  await (await openSqliteMetaStore({ file, mode: 'migrate' })).close();
  storeEmptyBlob(directory);
  const database = new DatabaseSync(file);
  try {
    database.exec(
      `pragma journal_mode = off; pragma synchronous = off; pragma cache_size = -${PAGE_CACHE_KIBIBYTES}; begin`,
    );
    // Built when the rows are there, each in its own order: row by row, every digest would be somewhere else in them.
    const indexes = database.prepare(
      'select name, sql from sqlite_schema where type = ? and sql is not null',
    );
    const dropped = indexes.all('index');
    for (const { name } of dropped) database.exec(`drop index ${String(name)}`);
    fill(new Seed(database));
    database.exec(LINK_REFERENCES);
    for (const { sql } of dropped) database.exec(String(sql));
    database.exec(ADD_BLOBS_OF_LINKS);
    database.exec('commit; pragma journal_mode = wal');
  } finally {
    database.close();
  }
}

const LINK_REFERENCES = `insert into links
  select distinct repository_id, target, ${SEEDED_AT}, '${SEEDED_BY}' from manifest_references
  where kind in ('config', 'layer') order by repository_id, target`;

const ADD_BLOBS_OF_LINKS = `insert or ignore into blobs
  select digest, ${BLOB_BYTES}, ${LOCATION}, 'present', ${SEEDED_AT}, ${SEEDED_AT}
  from (select distinct digest from links order by digest)`;

function storeEmptyBlob(directory: string): void {
  const path = join(directory, BLOBS, locationOf(EMPTY.digest));
  mkdirSync(join(path, '..'), { recursive: true, mode: 0o700 });
  writeFileSync(path, EMPTY_BYTES, { mode: 0o600 });
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
}

export interface SeededArtifact {
  /** Makes it another one than the rest. */
  readonly title: string;
  readonly artifactType?: string;
  readonly subject?: { readonly digest: Digest; readonly size: number };
}

/** Rows that hang together as pushes would have made them. */
export class Seed {
  readonly #database: DatabaseSync;
  readonly #insert: Readonly<Record<'repository' | 'manifest' | 'reference' | 'tag', StatementSync>>;

  constructor(database: DatabaseSync) {
    this.#database = database;
    const insert = (table: string, values: string) =>
      database.prepare(`insert into ${table} values (${values})`);
    const by = `${SEEDED_AT}, '${SEEDED_BY}'`;
    this.#insert = {
      repository: insert('repositories', `null, ?, ${by}`),
      manifest: insert('manifests', `?, ?, ?, ?, ?, ?, ${by}, null, null, ?, ?`),
      reference: insert('manifest_references', '?, ?, ?, ?, ?, ?, ?'),
      tag: insert('tags', `null, ?, ?, ?, ${by}, null, null, null`),
    };
    const empty = insert('blobs', `?, ?, ?, 'present', ${SEEDED_AT}, ${SEEDED_AT}`);
    empty.run(digestToBytes(EMPTY.digest), EMPTY.size, locationOf(EMPTY.digest));
  }

  /** Its id. */
  repository(name: string): number {
    return Number(this.#insert.repository.run(name).lastInsertRowid);
  }

  /** A manifest that needs the empty blob only, as signatures and attestations often do. */
  artifact(repository: number, artifact: SeededArtifact): Descriptor {
    const { title, artifactType = 'application/vnd.example.thing', subject } = artifact;
    return this.#manifest(repository, {
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      artifactType,
      config: EMPTY,
      layers: [EMPTY],
      ...(subject === undefined ? {} : { subject: descriptor(MANIFEST_TYPE, subject.digest, subject.size) }),
      annotations: { 'org.opencontainers.image.title': title },
    });
  }

  /** A manifest with a config of its own, and a layer that all images on this base share. */
  image(repository: number, image: { readonly name: string; readonly base: string }): Descriptor {
    return this.#manifest(repository, {
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      config: descriptor(CONFIG_TYPE, digestOfText(`config of ${image.name}`), BLOB_BYTES),
      layers: [descriptor(LAYER_TYPE, digestOfText(`layer of ${image.base}`), BLOB_BYTES)],
    });
  }

  tag(repository: number, name: string, { digest }: Descriptor): void {
    this.#insert.tag.run(repository, name, digestToBytes(digest));
  }

  /** Blobs that nothing links. */
  blobs(count: number): void {
    this.#database.function('numbered_digest', { deterministic: true }, (number) =>
      digestToBytes(digestOfText(`blob ${Number(number)}`)),
    );
    this.#database.exec(
      `with recursive numbers (number) as (select 1 union all select number + 1 from numbers where number < ${count}),
         digests (digest) as materialized (select numbered_digest(number) from numbers)
       insert into blobs
       select digest, ${BLOB_BYTES}, ${LOCATION}, 'present', ${SEEDED_AT}, ${SEEDED_AT} from digests order by digest`,
    );
  }

  #manifest(repository: number, document: object): Descriptor {
    const bytes = Buffer.from(JSON.stringify(document));
    const digest = digestOf('sha256', bytes);
    const parsed = parseManifest({ bytes, contentType: MANIFEST_TYPE, limits: LIMITS });
    const { subject } = parsed;
    const id = digestToBytes(digest);
    this.#insert.manifest.run(
      repository,
      id,
      parsed.mediaType,
      bytes.length,
      parsed.artifactType,
      subject === null ? null : digestToBytes(subject.digest),
      bytes,
      subject === null ? null : describeReferrer({ ...parsed, digest, sizeBytes: bytes.length }),
    );
    for (const { kind, position, target, mediaType, sizeBytes } of parsed.references) {
      const to = digestToBytes(target);
      this.#insert.reference.run(repository, id, kind, position, to, mediaType, sizeBytes);
    }
    return descriptor(MANIFEST_TYPE, digest, bytes.length);
  }
}

function descriptor(mediaType: string, digest: Digest, size: number): Descriptor {
  return { mediaType, digest, size };
}

function digestOfText(text: string): Digest {
  return digestOf('sha256', Buffer.from(text));
}

/** The configuration after reading and checking. Secrets stand in their own object so that nothing prints them by chance. */
export interface Config {
  readonly server: ServerConfig;
  readonly tls: TlsConfig | null;
  readonly storage: StorageConfig;
  readonly database: DatabaseConfig;
  readonly auth: AuthConfig;
  readonly retention: RetentionConfig;
  readonly registry: RegistryConfig;
  readonly limits: LimitsConfig;
  readonly logging: LoggingConfig;
  readonly secrets: Secrets;
}

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

export interface ServerConfig {
  readonly bind: ListenAddress;
  /** May equal `bind`: then one listener serves both. */
  readonly ui: ListenAddress;
  readonly workers: number;
  /** What people call this node. */
  readonly nodeName: string;
  /** `https://registry.example.com`, without a trailing slash; null: from the request. */
  readonly externalUrl: string | null;
  /** CIDR blocks whose `X-Forwarded-Proto` and `X-Forwarded-Host` are believed. Default: loopback and private. */
  readonly trustedProxies: readonly string[];
  /** CIDR blocks whose `X-Forwarded-For` names the client. Default: none. */
  readonly trustedClientProxies: readonly string[];
  /** Seconds that running transfers get after SIGTERM. */
  readonly drainSecondsMax: number;
}

export interface TlsConfig {
  readonly certificateFile: string;
  readonly keyFile: string;
}

export interface StorageConfig {
  readonly backend: 'fs' | 'memory' | 's3' | 'ghostbay' | 'tiered';
  /** The store that blobs move away from. */
  readonly migrateFrom: 'none' | 'fs' | 's3' | 'ghostbay';
  /** Directory of blobs, staged uploads and (by default) the ledger. */
  readonly root: string;
  /** New uploads are refused while less than this is free on the device. */
  readonly reserveBytes: number;
  readonly redirect: RedirectConfig;
  /** `null` where no backend needs it. */
  readonly s3: S3Config | null;
  /** With the backend `tiered`. */
  readonly tiered: TieredConfig | null;
  readonly ghostbay: GhostbayConfig | null;
}

/** A bucket of a GhostBay server; the keys to it stand in `secrets`. */
export interface GhostbayConfig {
  /** `http://ghostbay:8080`. */
  readonly endpoint: string;
  readonly bucket: string;
  readonly segmentBytes: number;
  /** Of all uploads, per process. */
  readonly uploadMemoryBytesMax: number;
}

export interface GhostbayCredentials {
  readonly accessKey: string;
  readonly secretKey: string;
}

/** When clients are sent to the store for the bytes of a blob. */
export interface RedirectConfig {
  readonly mode: 'auto' | 'on' | 'off';
  /** Smaller blobs are sent from here. */
  readonly bytesMin: number;
  /** How long the address is good. */
  readonly seconds: number;
}

/** A bucket; the keys to it stand in `secrets`. */
export interface S3Config {
  /** `null`: Amazon's of the region. */
  readonly endpoint: string | null;
  /** Where clients find it, for redirects; `null`: at `endpoint`. */
  readonly publicEndpoint: string | null;
  readonly region: string;
  readonly bucket: string;
  /** Empty, or with a slash at its end. */
  readonly prefix: string;
  readonly pathStyle: boolean;
  /** `null`: the bucket's own. */
  readonly storageClass: string | null;
  readonly encryption: 'AES256' | 'aws:kms' | null;
  readonly kmsKeyId: string | null;
  readonly caFile: string | null;
  /** A whole number of blocks of 256 KiB. */
  readonly partBytes: number;
  /** Parts of one upload on their way at once. */
  readonly uploadConcurrency: number;
  /** Of all uploads, per process. */
  readonly uploadMemoryBytesMax: number;
  /** To the service, per process. */
  readonly connectionsMax: number;
  readonly connectSecondsMax: number;
  readonly requestSecondsMax: number;
  readonly attempts: number;
}

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string | null;
}

export interface TieredConfig {
  readonly mode: 'write-through' | 'write-back';
  readonly cold: 's3' | 'fs';
  readonly hotRoot: string;
  readonly hotBytesMax: number;
  readonly hotAgeSecondsMax: number;
  readonly backlogBytesMax: number;
  readonly sendsMax: number;
}

export type DatabaseConfig = SqliteConfig | PostgresConfig;

export interface SqliteConfig {
  readonly backend: 'sqlite';
  /** `<storage root>/drift.db` unless configured. */
  readonly file: string;
}

/** The address stands in `secrets`. */
export interface PostgresConfig {
  readonly backend: 'postgres';
  /** Per process. */
  readonly connectionsMax: number;
  readonly waitingMax: number;
  readonly connectSecondsMax: number;
  readonly querySecondsMax: number;
  readonly partitions: number;
}

export interface AuthConfig {
  readonly mode: 'basic';
  /** Globs of repositories that anonymous callers may pull: empty (default) for none. */
  readonly anonymousPull: readonly string[];
  /** Names only; passwords are in `secrets`. */
  readonly users: readonly ConfiguredUser[];
  readonly htpasswdFile: string | null;
  readonly accessTokenSeconds: number;
  readonly refreshTokenSeconds: number;
  /** `service` of the challenge and `aud` of tokens. */
  readonly service: string;
}

export interface ConfiguredUser {
  readonly name: string;
  /** Wire-form scopes (`repository:ghost/*:pull,push`, `registry:catalog:*`); null: administrator. */
  readonly scopes: readonly string[] | null;
}

export interface RetentionConfig {
  /** Globs of tags that, once set, neither move nor go. */
  readonly immutableTags: readonly string[];
  readonly minAgeSeconds: number;
}

export interface RegistryConfig {
  /** Whether an index may name children that are not here. */
  readonly sparseIndexes: boolean;
  /** Whether tags, manifests and blobs may be deleted through /v2. */
  readonly deletes: boolean;
}

/** Every limit of a body, queue, list, retry, header or cache that an operator may set. */
export interface LimitsConfig {
  readonly manifestBytesMax: number;
  readonly blobBytesMax: number;
  readonly uploadIdleSecondsMax: number;
  readonly uploadsOpenMax: number;
  readonly bodyIdleSecondsMax: number;
  readonly connectionsPerAddressMax: number;
  readonly connectionsMax: number;
  readonly rangesMax: number;
  readonly pageEntriesMax: number;
  readonly tagParametersMax: number;
  readonly descriptorsMax: number;
  readonly passwordChecksMax: number;
  readonly memoryCacheBytesMax: number;
}

export interface LoggingConfig {
  /** `trace` … `error`, `off`; per subsystem after the first: `info,access=debug`. */
  readonly filter: string;
  readonly format: 'json' | 'pretty' | 'auto';
}

export interface Secrets {
  /** User name to configured secret: plain, argon2 PHC or bcrypt. */
  readonly passwords: ReadonlyMap<string, string>;
  /** Of the PostgreSQL database; null with SQLite. */
  readonly databaseUrl: string | null;
  /** Of its replicas. */
  readonly databaseReplicaUrls: readonly string[];
  /** Where notices are listened for; null: at `databaseUrl`. */
  readonly databaseListenUrl: string | null;
  /** Null: from the places where the tools of AWS look for them. */
  readonly s3: S3Credentials | null;
  /** Null with other backends. */
  readonly ghostbay: GhostbayCredentials | null;
}

import { metaStoreContract } from '../contract.ts';
import { openTemporaryMetaStore } from './temporary-meta-store.ts';

metaStoreContract('sqlite', openTemporaryMetaStore);

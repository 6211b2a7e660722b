export { redisStore } from './store.ts'
export type { RedisClient, RedisStoreOptions, RedisSubscriber } from '../../types/store-options.ts'
export type { ProducerCallbacks, StoredEvents, StoredStreamInfo, StreamProducer, StreamStatus, StreamStore } from '../../types/store.ts'

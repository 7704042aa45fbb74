export { FailoverEngine, type ModelInfo, type Request } from './types/engine/failover.js';

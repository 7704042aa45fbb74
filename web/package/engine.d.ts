export { Ladder, type ModelInfo, type Request } from './types/ladder.js';

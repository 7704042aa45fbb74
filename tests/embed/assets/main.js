import { MeanFlowElement } from '@meanflow/element';

MeanFlowElement.assets = '/static/';

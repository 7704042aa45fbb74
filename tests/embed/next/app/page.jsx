'use client';

import '@meanflow/element';
import { useState } from 'react';

export default function Page() {
  const [seed, setSeed] = useState(7);
  return (
    <>
      <mean-flow src="/emoji.safetensors" seed={seed} />
      <button onClick={() => setSeed(seed + 1)}>Another</button>
    </>
  );
}

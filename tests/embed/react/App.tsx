import '@meanflow/element';
import { useState } from 'react';

export function App() {
  const [seed, setSeed] = useState(7);
  const [said, setSaid] = useState('');
  return (
    <>
      <mean-flow src="/emoji.safetensors" seed={seed} ongenerate={({ detail }) => setSaid(`${detail.milliseconds} ms`)} />
      <button onClick={() => setSeed(seed + 1)}>Another</button> {said}
    </>
  );
}

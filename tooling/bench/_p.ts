import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import { createPvt } from '@pvt/core';
import { openCheckpoint } from '@pvt/presets';
setWasmPaths(`${dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm/package.json'))}/dist/`);
await tf.setBackend('wasm');
const path='/tmp/b0.safetensors'; const size=statSync(path).size;
const f={name:path,size,read:async(b:number,e:number)=>f.readNow(b,e),readNow(b:number,e:number,room=new Uint8Array(e-b)){const d=openSync(path,'r');readSync(d,room,0,room.length,b);closeSync(d);return room;}};
const o:number[]=[],c:number[]=[];
for(let i=0;i<150;i++){const a=performance.now();const {config,source}=await openCheckpoint(f);const b=performance.now();const m=createPvt(config,source);const d=performance.now();o.push(b-a);c.push(d-b);m.dispose();}
const md=(x:number[])=>x.sort((a,b)=>a-b)[x.length>>1]!.toFixed(1); console.log('open',md(o),'create',md(c));

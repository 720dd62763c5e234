/** Images to try the models with. All but one are drawn here, so that no photo has to be distributed. */
import ship from '../../cli/assets/sample.png?url';
import { drawAirplane, drawAutomobile, drawBlood, drawNuclei } from './drawings.ts';
import { taskNames, type TaskName } from './protocol.ts';

export interface Sample {
  readonly id: string;
  readonly title: string;
  /** The tasks that offer the sample; the one that it was drawn for comes first. */
  readonly tasks: readonly TaskName[];
  readonly draw: () => Promise<ImageBitmap>;
}

export const samples: readonly Sample[] = [
  {
    id: 'ship',
    title: 'ship',
    tasks: taskNames,
    draw: async () => createImageBitmap(await (await fetch(ship)).blob()),
  },
  { id: 'airplane', title: 'airplane', tasks: taskNames, draw: drawAirplane },
  { id: 'automobile', title: 'automobile', tasks: taskNames, draw: drawAutomobile },
  { id: 'nuclei', title: 'cell nuclei', tasks: ['segment', 'explore'], draw: drawNuclei },
  { id: 'blood', title: 'blood smear', tasks: ['detect', 'explore'], draw: drawBlood },
];
